#!/bin/bash
# One batch on four tasks. MODEL, INPUT and OUTPUT come from the environment:
#   MODEL=model.gguf INPUT=requests.jsonl OUTPUT=answers.jsonl sbatch docs/examples/slurm-array.sh
# A task that is preempted or whose node fails is queued again, and goes on where it was.
#SBATCH --job-name=brimful-batch
#SBATCH --array=0-3
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --requeue
#SBATCH --open-mode=append
# srun makes the task the one that gets SIGTERM; exec would hide it from this script's own signals.
srun brimful batch -m "$MODEL" -i "$INPUT" -o "$OUTPUT" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  -t "$SLURM_CPUS_PER_TASK" --ram "${RAM:-62GiB}"
