#include "card.h"

#include <functional>
#include <map>
#include <sstream>
#include <stdexcept>

namespace brimful::timed_card {

Card read_card(const std::string& text) {
  Card card;
  const auto number = [](double& field) {
    return std::function([&field](const std::string& value) { field = std::stod(value); });
  };
  const std::map<std::string, std::function<void(const std::string&)>> fields{
      {"description", [&](const std::string& value) { card.description = value; }},
      {"memory", [&](const std::string& value) { card.memory = std::stoull(value); }},
      {"memory_rate", number(card.memory_rate)},
      {"flops", number(card.flops)},
      {"link_rate", number(card.link_rate)},
      {"pageable_rate", number(card.pageable_rate)},
      {"copy_latency", number(card.copy_latency)},
      {"launch", number(card.launch)},
      {"recorded_launch", number(card.recorded_launch)},
      {"cores_rate", number(card.cores_rate)},
      {"together_rate", number(card.together_rate)},
      {"cores", [&](const std::string& value) { card.cores = std::stoi(value); }},
      {"computes", [&](const std::string& value) { card.computes = std::stoi(value) != 0; }},
      {"report", [&](const std::string& value) { card.report = value; }},
  };
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    const auto field = fields.find(part.substr(0, equals));
    if (equals == std::string::npos || field == fields.end())
      throw std::invalid_argument("BRIMFUL_TIMED_CARD: '" + part + "' is no setting");
    field->second(part.substr(equals + 1));
  }
  return card;
}

}  // namespace brimful::timed_card
