#!/bin/bash
# Puts the parts together, once all tasks have ended well:
#   sbatch --dependency=afterok:JOB docs/examples/slurm-merge.sh
#SBATCH --job-name=brimful-merge
#SBATCH --ntasks=1
brimful batch --merge "${PARTS:-4}" -i "$INPUT" -o "$OUTPUT"
