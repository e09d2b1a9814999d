#include "probe/probe.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <ggml.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <tuple>

#include "base/json_text.h"
#include "base/replace_file.h"
#include "hardware/child_process.h"
#include "hardware/cpu.h"
#include "hardware/disk.h"
#include "hardware/gpu.h"
#include "hardware/processor_load.h"
#include "hardware/profile_json.h"
#include "hardware/ram.h"
#include "probe/device_rates.h"
#include "probe/disk_rates.h"
#include "probe/kernel_rates.h"
#include "probe/ram_rates.h"
#include "probe/refresh.h"
#include "synth/type.h"

namespace brimful::probe {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr Bytes kReadSizes[] = {Bytes{16} * kKiB.value, Bytes{64} * kKiB.value, Bytes{256} * kKiB.value, kMiB,
                                Bytes{2} * kMiB.value,  Bytes{4} * kMiB.value};
constexpr Bytes kStreamedRead = Bytes{2} * kMiB.value;  // The size of the ring's reads.
constexpr milliseconds kReadTime{500};
constexpr milliseconds kLinksTime{60000};
constexpr milliseconds kBesideTime{1500};
constexpr milliseconds kEachKernel{120};
constexpr milliseconds kModelsKernel{
    // It is longer, because a run takes seconds, and shared cores give less over seconds than in a moment.
    400};

/// Returns a text with everything on which rates depend, except the GPUs. When it changes, the rates are
/// measured again.
std::string key_of(const hardware::Profile& p, int threads) {
  return fmt::format("{}|{} of {} threads|{}|{} {} {}|ggml {} {}", p.cpu.model, threads, p.cpu.threads,
                     p.ram.total.value, p.disk.kind, p.disk.device, p.disk.file_system, ggml_version(),
                     ggml_commit());
}

/// Returns the path of the cached profile. `gpus` are the GPUs that a driver reports; the profile may have
/// more.
fs::path cache_file(const fs::path& directory, std::string key, const std::vector<hardware::Gpu>& gpus) {
  for (const hardware::Gpu& gpu : gpus) key += "|" + gpu.name;
  return directory / fmt::format("profile-{:016x}.json", std::hash<std::string>{}(key));
}

/// Measures the copies to GPUs in a process of its own, because drivers take memory and threads of the
/// process that starts them, and some crash.
void measure_links_apart(const ProbeOptions& options, hardware::Profile& profile) {
  using hardware::ChildEnd;
  const ChildEnd end = hardware::run_in_child(
      [&] {
        std::vector<hardware::Gpu> gpus = profile.gpus;
        const auto devices = options.devices();
        const Status done =
            devices ? measure_links(*devices, options.threads, gpus) : std::unexpected(devices.error());
        nlohmann::json answer{{"gpus", nlohmann::json::array()}};
        for (const hardware::Gpu& gpu : gpus) answer["gpus"].push_back(hardware::gpu_json(gpu));
        if (!done) answer["problem"] = done.error().message;
        return hardware::dump(answer, -1);
      },
      kLinksTime);
  std::string problem;
  if (end.how == ChildEnd::How::kReturned) {
    const auto text = parse_json(end.text);
    const nlohmann::json none;
    hardware::Fields answer(text ? *text : none, "", problem);
    std::vector<hardware::Gpu> gpus;
    for (hardware::Fields& gpu : answer.list("gpus")) gpus.push_back(hardware::parse_gpu(std::move(gpu)));
    const auto why = answer.maybe("problem", &hardware::Fields::text);
    if (problem.empty()) take_over_links(gpus, profile.gpus);
    if (problem.empty() && why) problem = *why;
  } else {
    problem = "a GPU's backend crashed or hung when copies to it were measured: check that its driver works";
  }
  if (!problem.empty() && !profile.gpu_problem) profile.gpu_problem = std::move(problem);
}

std::optional<hardware::Profile> read_cache(const fs::path& file, const std::string& key, int threads) {
  std::ifstream in(file);
  std::ostringstream text;
  if (!(text << in.rdbuf())) return std::nullopt;
  auto profile = hardware::parse_profile(text.str());
  if (!profile || key_of(*profile, threads) != key) return std::nullopt;
  return std::move(*profile);
}

void write_cache(const fs::path& file, const hardware::Profile& profile) {
  // Without it, the next probe measures again.
  std::ignore = replace_file(file, [&](std::ostream& out) { out << hardware::to_json(profile) << '\n'; });
}

class Probe {
 public:
  explicit Probe(const ProbeOptions& options)
      : options_(options),
        models_types_(types_to_measure(options)),
        types_(options.refresh == Refresh::kAll ? synth::synth_types() : models_types_),
        twice_(options.refresh != Refresh::kUsualTypes),
        measures_links_(options.devices && (options.refresh == Refresh::kAll || !options.known_before)),
        steps_(static_cast<int>(types_.size()) + (measures_links_ ? 3 : 2)) {
    if (twice_) steps_ += static_cast<int>(models_types_.size()) + 1;
    if (options.model != nullptr) steps_ += static_cast<int>(std::size(kReadSizes)) + 1;
  }

  Status measure(hardware::Profile& profile) {
    hardware::ProcessorLoad load;
    if (measures_links_) {
      step("copies to GPUs");
      measure_links_apart(options_, profile);  // This must come before this process has other threads.
    }
    step("RAM");
    BRIMFUL_TRY(const RamRates ram, measure_ram(options_.threads));
    profile.ram.read_bytes_per_s = ram.read_bytes_per_s;
    profile.ram.touch_bytes_per_s = ram.touch_bytes_per_s;
    BRIMFUL_TRY(const auto kernels, KernelBench::create(options_.threads));
    // Rates are measured twice, with seconds in between: a moment in which other programs take the cores
    // does not describe the machine.
    BRIMFUL_TRY_VOID(measure_kernels(profile.compute, *kernels, types_, true));
    if (options_.model != nullptr) {
      BRIMFUL_TRY_VOID(measure_disk(profile, *kernels));
    }
    if (twice_) BRIMFUL_TRY_VOID(measure_kernels(profile.compute, *kernels, models_types_, false));
    profile.disturbed_by = load.of_others();
    if (profile.disturbed_by && !hardware::is_loaded(*profile.disturbed_by)) profile.disturbed_by.reset();
    profile.measured = fmt::format("{:%FT%TZ}", fmt::gmtime(std::time(nullptr)));
    return {};
  }

 private:
  Status measure_kernels(hardware::Compute& compute, KernelBench& kernels,
                         const std::vector<ggml_type>& types, bool first) {
    for (const ggml_type type : types) {
      step(ggml_type_name(type));
      BRIMFUL_TRY(const auto rate, kernels.measure(type, first ? kEachKernel : kModelsKernel));
      const auto known = std::ranges::find(compute.kernels, rate.type, &hardware::KernelRate::type);
      if (known == compute.kernels.end()) {
        compute.kernels.push_back(rate);
      } else if (first) {
        *known = rate;  // The known rate is from an earlier probe.
      } else {
        average(*known, rate);
      }
    }
    step("attention and small operations");
    hardware::Compute rest;
    BRIMFUL_TRY_VOID(kernels.measure_rest(rest));
    if (!first) {
      average(rest.attention, compute.attention);
      average(rest.quantised_attention, compute.quantised_attention);
      average(rest.element_bytes_per_s, compute.element_bytes_per_s);
      rest.seconds_per_node = (rest.seconds_per_node + compute.seconds_per_node) / 2;
      rest.seconds_per_segment = (rest.seconds_per_segment + compute.seconds_per_segment) / 2;
    }
    rest.kernels = std::move(compute.kernels);
    rest.share_beside_reads = compute.share_beside_reads;
    compute = std::move(rest);
    return {};
  }

  void step(std::string_view what) {
    if (options_.progress) options_.progress(what, done_, steps_);
    ++done_;
  }

  Status measure_disk(hardware::Profile& profile, KernelBench& kernels) {
    BRIMFUL_TRY(const auto disk, DiskBench::create(*options_.model));
    profile.disk.direct = disk->direct();
    profile.disk.reads.clear();
    for (const Bytes size : kReadSizes) {
      step(fmt::format("disk, reads of {}", format_bytes(size)));
      BRIMFUL_TRY(const double rate, disk->read_while(size, for_time(kReadTime)));
      profile.disk.reads.push_back({size, rate});
    }
    BRIMFUL_TRY(const double one_by_one, disk->read_while(kReadSizes[0], for_time(kReadTime), 1));
    profile.disk.seconds_per_read = static_cast<double>(kReadSizes[0].value) / one_by_one;
    step("disk while computing");
    Result<double> beside = 0.0;
    std::atomic<bool> stop = false;
    std::jthread reading([&] { beside = disk->read_while(kStreamedRead, [&] { return !stop; }); });
    const auto decoded = kernels.decode_while(GGML_TYPE_Q4_K, for_time(kBesideTime));
    stop = true;
    reading.join();
    BRIMFUL_TRY(const double compute_beside, decoded);
    BRIMFUL_TRY(profile.disk.beside_compute_bytes_per_s, beside);
    BRIMFUL_TRY(const double compute_alone, kernels.decode_while(GGML_TYPE_Q4_K, for_time(kReadTime)));
    profile.compute.share_beside_reads = std::clamp(compute_beside / compute_alone, 0.05, 1.0);
    return {};
  }

  const ProbeOptions& options_;
  const std::vector<ggml_type> models_types_;
  const std::vector<ggml_type> types_;
  const bool twice_;
  const bool measures_links_;
  int steps_;
  int done_ = 0;
};

/// The facts about this machine, and the place of the rates that belong to them.
struct Machine {
  hardware::Profile profile;
  std::string key;
  fs::path file;
  bool measured = false;  // Whether `profile` has rates.
};

Result<Machine> read_machine(const ProbeOptions& options) {
  Machine out{.profile = {.name = "this machine"}};
  hardware::Profile& facts = out.profile;
  facts.cpu = hardware::read_cpu();
  BRIMFUL_TRY(facts.ram, hardware::read_ram());
  if (options.model != nullptr) facts.disk = hardware::read_disk(options.model->files.front().path);
  hardware::Gpus gpus = hardware::read_gpus();
  facts.gpus = std::move(gpus.cards);
  facts.gpu_problem = std::move(gpus.problem);
  out.key = key_of(facts, options.threads);
  out.file = cache_file(options.cache, out.key, facts.gpus);
  auto cached = read_cache(out.file, out.key, options.threads);
  if (!cached) return out;
  out.measured = true;
  facts.measured = std::move(cached->measured);
  facts.disturbed_by = cached->disturbed_by;
  facts.compute = std::move(cached->compute);
  facts.ram.read_bytes_per_s = cached->ram.read_bytes_per_s;
  facts.ram.touch_bytes_per_s = cached->ram.touch_bytes_per_s;
  facts.disk = std::move(cached->disk);
  take_over_links(cached->gpus, facts.gpus);
  return out;
}

/// Returns whether other programs use the processors at this moment.
bool is_loaded_now() {
  hardware::ProcessorLoad load;
  std::this_thread::sleep_for(milliseconds{300});
  return hardware::is_loaded(load.of_others().value_or(0));
}

}  // namespace

Result<hardware::Profile> probe(const ProbeOptions& options) {
  BRIMFUL_TRY(Machine machine, read_machine(options));
  ProbeOptions measuring = options;
  measuring.refresh = refresh_of(options, machine.measured ? &machine.profile.compute : nullptr);
  measuring.known_before = machine.measured;
  // Rates that were measured while other programs ran are replaced as soon as those programs have finished.
  if (machine.profile.disturbed_by && !is_loaded_now()) {
    machine.profile.compute.kernels.clear();
    measuring.refresh = options.model ? Refresh::kModelsTypes : Refresh::kAll;
  }
  if (measuring.refresh == Refresh::kNever) {
    const bool unknown = std::ranges::any_of(
        machine.profile.gpus, [](const hardware::Gpu& gpu) { return !gpu.host_to_device_bytes_per_s; });
    if (!options.devices || !unknown) return std::move(machine.profile);
    // ggml's backend for the card may be newer than the profile.
    measure_links_apart(options, machine.profile);
  } else {
    BRIMFUL_TRY_VOID(Probe(measuring).measure(machine.profile));
  }
  write_cache(machine.file, machine.profile);
  return std::move(machine.profile);
}

std::optional<hardware::Profile> known(const ProbeOptions& options) {
  auto machine = read_machine(options);
  if (!machine || !machine->measured || machine->profile.disturbed_by) return std::nullopt;
  return std::move(machine->profile);
}

}  // namespace brimful::probe
