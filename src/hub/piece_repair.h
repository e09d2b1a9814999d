#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "hub/hasher.h"
#include "hub/part_file.h"
#include "hub/piece_log.h"
#include "hub/range_reader.h"

namespace brimful::hub {

/// Starts the hash of a file, of the kind that the hub's `hash` is. Git's sha1 has the size in front of the
/// bytes. Errors: those of Hasher::start().
[[nodiscard]] Result<Hasher> start_file_hash(const std::string& hash, std::uint64_t size);

/// Forgets the pieces whose bytes on the disk are not those that were received. Returns how many they are.
/// Errors: kIo.
[[nodiscard]] Result<std::size_t> forget_lost_pieces(PieceLog& log, const PartFile& part);

/// Finds the pieces that the server sent wrong, by fetching them once more, and writes the right ones. Ends
/// when the whole file has its hash. `progress` is called with the number of the piece that is looked at.
/// Errors: kCorrupt when no piece can be found that makes the file right; those of RangeReader::read().
/// Holds: one piece.
[[nodiscard]] Status replace_wrong_pieces(RangeReader& reader, const ExpectedFile& file, PieceLog& log,
                                          const PartFile& part,
                                          const std::function<void(std::size_t)>& progress);

}  // namespace brimful::hub
