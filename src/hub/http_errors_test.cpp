#include "hub/http_errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::hub {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kFile = "https://huggingface.co/org/model-GGUF/resolve/main/a/b.gguf";

std::string message(std::string_view url, int status, const Settings& settings = {}) {
  const Error error = status_error(url, status, settings);
  EXPECT_EQ(error.message.find('\n'), std::string::npos);
  EXPECT_THAT(error.message, StartsWith(std::string(url.substr(0, url.find('?'))) + ": "));
  return error.message;
}

TEST(StatusError, SaysWhatToDoAboutAGatedModel) {
  const auto licence = HasSubstr("accept its licence on https://huggingface.co/org/model-GGUF");
  EXPECT_THAT(message(kFile, 401), AllOf(licence, HasSubstr("set HF_TOKEN"), HasSubstr("check the name")));
  EXPECT_THAT(message("https://huggingface.co/api/models/org/model-GGUF/tree/main?recursive=true", 401),
              licence);
  Settings known;
  known.token = "secret";
  EXPECT_THAT(message(kFile, 403, known),
              AllOf(licence, HasSubstr("HF_TOKEN is still valid"), Not(HasSubstr("secret"))));
  EXPECT_THAT(message("https://huggingface.co/org", 401), HasSubstr("https://huggingface.co/org, and"));
}

TEST(StatusError, OfAnotherServerDoesNotSpeakOfTheHub) {
  EXPECT_THAT(message("https://example.com/m.gguf?sig=1", 403),
              AllOf(HasSubstr("refuses access (403)"), Not(HasSubstr("HF_TOKEN"))));
  EXPECT_THAT(message("https://example.com/m.gguf", 429), Not(HasSubstr("HF_TOKEN")));
}

TEST(StatusError, TellsWhatIsMissingFromWhatFails) {
  EXPECT_EQ(status_error(kFile, 404, {}).code, ErrorCode::kNotFound);
  EXPECT_THAT(message(kFile, 404), HasSubstr("no file of this name (404): check the name"));
  EXPECT_EQ(status_error(kFile, 503, {}).code, ErrorCode::kIo);
  EXPECT_THAT(message(kFile, 503), HasSubstr("try again later"));
  EXPECT_THAT(message(kFile, 429), HasSubstr("set HF_TOKEN"));
  EXPECT_THAT(message(kFile, 0), HasSubstr("status 0"));
}

TEST(TransferError, ShowsNoPasswordOfAProxy) {
  for (const CURLcode code :
       {CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_PROXY, CURLE_OPERATION_TIMEDOUT, CURLE_RECV_ERROR,
        CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_UNSUPPORTED_PROTOCOL}) {
    const std::string why = "Unsupported proxy scheme for 'foo://user:pass word@host'";
    EXPECT_THAT(transfer_error(kFile, code, why).message, Not(HasSubstr("word")));
  }
}

TEST(TransferError, SaysWhatToDo) {
  const auto text = [](CURLcode code) { return transfer_error(kFile, code, "a\nb").message; };
  EXPECT_THAT(text(CURLE_COULDNT_RESOLVE_HOST), HasSubstr("the host name cannot be resolved"));
  EXPECT_THAT(text(CURLE_COULDNT_CONNECT), AllOf(HasSubstr("'a␊b'"), HasSubstr("https_proxy")));
  EXPECT_THAT(text(CURLE_OPERATION_TIMEDOUT), HasSubstr("takes too long"));
  EXPECT_THAT(text(CURLE_PEER_FAILED_VERIFICATION), HasSubstr("SSL_CERT_FILE"));
  EXPECT_THAT(text(CURLE_SSL_CONNECT_ERROR), AllOf(HasSubstr("https?"), Not(HasSubstr("SSL_CERT_FILE"))));
  EXPECT_THAT(text(CURLE_PARTIAL_FILE), HasSubstr("broke off"));
  EXPECT_THAT(transfer_error(kFile, CURLE_RECV_ERROR, "CONNECT tunnel failed, response 407").message,
              HasSubstr("the proxy asks for a login"));
  EXPECT_THAT(text(CURLE_UNSUPPORTED_PROTOCOL), HasSubstr("redirects away from https://"));
  EXPECT_EQ(transfer_error("ftp://host/a", CURLE_UNSUPPORTED_PROTOCOL, "x").code,
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace brimful::hub
