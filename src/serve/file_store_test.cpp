#include "serve/file_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "serve/files_api.h"
#include "temporary_directory.h"

namespace brimful::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Json = FileStore::Json;
namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class FileStoreTest : public ::testing::Test {
 protected:
  FileStoreTest() { reopen(); }
  void reopen() {
    store_.reset();
    auto opened = FileStore::open(folder());
    if (!opened) throw std::runtime_error(opened.error().message);
    store_ = std::move(*opened);
  }
  /// Keeps a file and returns its id.
  std::string keep(const std::string& content, const std::string& purpose = "batch") {
    auto upload = store_->begin_upload().value();
    EXPECT_TRUE(upload.content.write(content));
    return store_->keep(std::move(upload), "in.jsonl", purpose).value()["id"];
  }
  std::string add_batch(const std::string& input, const std::string& status = "validating") {
    return store_->add_batch({{"object", "batch"}, {"input_file_id", input}, {"status", status}})
        .value()["id"];
  }
  [[nodiscard]] std::vector<std::string> files(const FileStore::Select& select) const {
    std::vector<std::string> out;
    const auto page = store_->files(select);
    for (const Json& file : page->objects) out.push_back(file["id"]);
    return out;
  }
  [[nodiscard]] fs::path folder() const { return directory_.path() / "state"; }

  tests::TemporaryDirectory directory_;
  std::unique_ptr<FileStore> store_;
};

TEST_F(FileStoreTest, AFileThatWasKeptIsThereAfterARestart) {
  const std::string content = "one\n" + std::string("\0\xff", 2);
  const std::string id = keep(content);
  EXPECT_THAT(id, StartsWith("file-"));
  reopen();
  const Json file = store_->file(id).value();
  EXPECT_EQ(file["bytes"], content.size());
  EXPECT_EQ(file["filename"], "in.jsonl");
  EXPECT_EQ(file["purpose"], "batch");
  EXPECT_EQ(content_of(store_->content(id)), content);
}

TEST_F(FileStoreTest, NobodyElseCanReadIt) {
  const std::string id = keep("secret");
  EXPECT_EQ(fs::status(folder()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(store_->content(id)).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_NE(keep("x"), id) << "ids are random";
}

TEST_F(FileStoreTest, AnUploadThatWasBrokenOffLeavesNothing) {
  std::string id;
  {
    auto upload = store_->begin_upload().value();
    id = upload.id;
    ASSERT_TRUE(upload.content.write("half"));
  }
  EXPECT_EQ(store_->file(id).error().code, ErrorCode::kNotFound);
  EXPECT_THAT(store_->file(id).error().message, HasSubstr(id));
  EXPECT_TRUE(fs::is_empty(folder() / "files"));
}

TEST_F(FileStoreTest, WhatACrashLeftIsRemovedButForOpenBatches) {
  const std::string id = keep("kept");
  const std::string batch = add_batch(id);
  const std::string done = add_batch(id);
  ASSERT_TRUE(store_->change_batch(done, [](Json& object) {
    object["status"] = "failed";
    return Status{};
  }));
  for (const std::string& name : {std::string("file-lost"), std::string("file-half.part"),
                                  output_of(batch) + ".part", errors_of(batch), output_of(done)})
    std::ofstream(folder() / "files" / name) << "x";
  reopen();
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder() / "files"))
    left.push_back(entry.path().filename());
  EXPECT_THAT(left, testing::UnorderedElementsAre(id, output_of(batch) + ".part", errors_of(batch)));
}

TEST_F(FileStoreTest, AListHasTheNewestFirstAndGoesOnBehindAnId) {
  const std::vector ids = {keep("1"), keep("2", "other"), keep("3"), keep("4")};
  EXPECT_THAT(files({}), ElementsAre(ids[3], ids[2], ids[1], ids[0]));
  EXPECT_THAT(files({.oldest_first = true}), ElementsAre(ids[0], ids[1], ids[2], ids[3]));
  EXPECT_THAT(files({.after = ids[2]}), ElementsAre(ids[1], ids[0]));
  EXPECT_THAT(files({.after = ids[2], .oldest_first = true}), ElementsAre(ids[3]));
  EXPECT_THAT(files({.after = ids[0]}), IsEmpty());
  EXPECT_THAT(files({.purpose = "other"}), ElementsAre(ids[1]));
  EXPECT_THAT(files({.purpose = "' OR 1"}), IsEmpty());
  EXPECT_EQ(store_->files({.after = "file-none"}).error().code, ErrorCode::kNotFound);
}

TEST_F(FileStoreTest, AListSaysWhetherMoreComes) {
  EXPECT_FALSE(store_->files({})->has_more);
  for (int i = 0; i < 3; ++i) keep("x");
  EXPECT_TRUE(store_->files({.limit = 2})->has_more);
  EXPECT_EQ(store_->files({.limit = 2})->objects.size(), 2U);
  EXPECT_FALSE(store_->files({.limit = 3})->has_more);
}

TEST_F(FileStoreTest, ARemovedFileIsGoneWithItsContent) {
  const std::string id = keep("x");
  ASSERT_TRUE(store_->remove_file(id));
  EXPECT_FALSE(fs::exists(store_->content(id)));
  EXPECT_EQ(store_->remove_file(id).error().code, ErrorCode::kNotFound);
}

TEST_F(FileStoreTest, AFileThatAnOpenBatchNeedsStays) {
  const std::string id = keep("x");
  const std::string batch = add_batch(id);
  EXPECT_EQ(store_->remove_file(id).error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(store_->remove_file(id).error().message, HasSubstr(batch));
  ASSERT_TRUE(store_->change_batch(batch, [](Json& object) {
    object["status"] = "cancelled";
    return Status{};
  }));
  EXPECT_TRUE(store_->remove_file(id));
}

TEST_F(FileStoreTest, ContentThatIsInItsPlaceBecomesAFileOnce) {
  std::ofstream(store_->content("file-1f-output")) << "12345";
  fs::permissions(store_->content("file-1f-output"), fs::perms::all);
  const Json first = store_->keep_content("file-1f-output", "out.jsonl", "batch_output").value();
  EXPECT_EQ(first["bytes"], 5);
  EXPECT_EQ(fs::status(store_->content("file-1f-output")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(store_->keep_content("file-1f-output", "other", "other").value(), first);
  EXPECT_EQ(store_->keep_content("file-none", "out", "x").error().code, ErrorCode::kIo);
}

TEST_F(FileStoreTest, AChangeOfABatchIsKeptOrNotMadeAtAll) {
  const std::string id = add_batch("file-1");
  EXPECT_THAT(id, StartsWith("batch_"));
  ASSERT_EQ(store_->open_batches()->size(), 1U);
  const auto refused = store_->change_batch(id, [](Json& object) -> Status {
    object["status"] = "completed";
    return fail(ErrorCode::kInvalidArgument, "no");
  });
  EXPECT_EQ(refused.error().message, "no");
  EXPECT_EQ(store_->batch(id).value()["status"], "validating");
  ASSERT_TRUE(store_->change_batch(id, [](Json& object) {
    object["status"] = "completed";
    object["note"] = "\xff";
    return Status{};
  }));
  reopen();
  EXPECT_EQ(store_->batch(id).value()["status"], "completed");
  EXPECT_EQ(store_->batch(id).value()["note"], "\ufffd") << "bytes that are no text do not lose the batch";
  EXPECT_THAT(store_->open_batches().value(), IsEmpty());
  EXPECT_EQ(store_->change_batch("batch_none", [](Json&) { return Status{}; }).error().code,
            ErrorCode::kNotFound);
}

TEST_F(FileStoreTest, AttemptsAreCountedOverRestarts) {
  EXPECT_EQ(store_->begin_attempt("batch_1").value(), 1);
  EXPECT_EQ(store_->begin_attempt("batch_2").value(), 1);
  reopen();
  EXPECT_EQ(store_->begin_attempt("batch_1").value(), 2);
  ASSERT_TRUE(store_->end_attempt("batch_1"));
  EXPECT_EQ(store_->begin_attempt("batch_1").value(), 1);
  EXPECT_TRUE(store_->end_attempt("batch_none"));
}

TEST_F(FileStoreTest, AFolderHasOneServer) {
  const auto second = FileStore::open(folder());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(second.error().message, HasSubstr(folder().string()));
}

TEST_F(FileStoreTest, AFolderThatOthersCanWriteIntoIsRefused) {
  const fs::path open = directory_.path() / "open";
  fs::create_directory(open);
  fs::permissions(open, fs::perms::all);
  EXPECT_EQ(FileStore::open(open).error().code, ErrorCode::kUnsupported);
}

TEST(HasEnded, FourStatusesAreFinal) {
  for (const char* const status : {"completed", "failed", "cancelled", "expired"})
    EXPECT_TRUE(has_ended({{"status", status}})) << status;
  for (const char* const status : {"validating", "in_progress", "finalizing", "cancelling", ""})
    EXPECT_FALSE(has_ended({{"status", status}})) << status;
}

TEST(OutputOf, ABatchWritesFilesOfItsOwnId) {
  EXPECT_EQ(output_of("batch_1f"), "file-1f-output");
  EXPECT_EQ(errors_of("batch_1f"), "file-1f-errors");
}

/// The endpoints, asked without a connection.
class FilesApiTest : public FileStoreTest {
 protected:
  FilesApiTest() { api_.add_endpoints(routes_); }

  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = "",
                   const HttpFields& query = {}) {
    HttpRequest request{.method = method, .path = path, .query = query};
    request.fields = {{"content-type", is_form_ ? "multipart/form-data; boundary=b" : "application/json"}};
    const auto found = routes_.find(request);
    if (found.make == nullptr) return HttpResponse{.status = 404};
    const HttpPlan plan = (*found.make)(request, found.place);
    if (!body.empty()) {
      if (auto early = plan.task->take(body)) return *early;
    }
    plan.task->body_is_complete();
    return plan.task->answer();
  }
  Json create(const Json& body) { return Json::parse(ask("POST", "/v1/batches", body.dump()).body); }
  std::string error_of(const Json& answer) { return answer["error"]["message"].get<std::string>(); }
  /// Uploads a form with these parts: name, and content.
  HttpResponse upload(const std::vector<std::pair<std::string, std::string>>& parts, bool complete = true) {
    is_form_ = true;
    std::string body;
    for (const auto& [name, content] : parts)
      body.append("--b\r\nContent-Disposition: form-data; name=")
          .append(name)
          .append("; filename=f.jsonl\r\n\r\n")
          .append(content)
          .append("\r\n");
    HttpResponse out = ask("POST", "/v1/files", body + (complete ? "--b--\r\n" : ""));
    is_form_ = false;
    return out;
  }

  BodyLimits limits_{.one = kMiB, .all = kGiB};
  FilesApi api_{*store_, limits_, kMiB};
  HttpRoutes routes_;
  bool is_form_ = false;
};

TEST_F(FilesApiTest, AnUploadedFileCanBeReadAndRemoved) {
  const HttpResponse uploaded = upload({{"purpose", "batch"}, {"file", "one\ntwo\n"}});
  ASSERT_EQ(uploaded.status, 200) << uploaded.body;
  const std::string id = Json::parse(uploaded.body)["id"];
  EXPECT_EQ(Json::parse(uploaded.body)["filename"], "f.jsonl");
  const HttpResponse content = ask("GET", "/v1/files/" + id + "/content");
  EXPECT_EQ(content.length, 8U);
  const auto part = content.source->next();
  EXPECT_EQ(part.bytes, "one\ntwo\n");
  EXPECT_TRUE(part.ends);
  EXPECT_EQ(Json::parse(ask("DELETE", "/v1/files/" + id).body)["deleted"], true);
  EXPECT_EQ(ask("GET", "/v1/files/" + id).status, 404);
  EXPECT_EQ(ask("GET", "/v1/files/" + id + "/content").status, 404);
}

TEST_F(FilesApiTest, AFormThatLacksSomethingLeavesNoFile) {
  for (const auto& [response, what] : std::vector<std::pair<HttpResponse, std::string>>{
           {upload({{"file", "x"}}), "purpose"},
           {upload({{"purpose", "batch"}}), "file"},
           {upload({{"purpose", "batch"}, {"file", "x"}}, false), "boundary"},
           {upload({{"file", "x"}, {"file", "y"}, {"purpose", "batch"}}), "twice"},
           {ask("POST", "/v1/files", "{}"), "multipart"}}) {
    EXPECT_EQ(response.status, 400) << what;
    EXPECT_THAT(response.body, HasSubstr(what));
  }
  EXPECT_THAT(files({}), IsEmpty());
  EXPECT_TRUE(fs::is_empty(folder() / "files"));
}

TEST_F(FilesApiTest, AListHasOpenAisForm) {
  const Json empty = Json::parse(ask("GET", "/v1/files").body);
  EXPECT_EQ(empty["data"], Json::array());
  EXPECT_EQ(empty["first_id"], nullptr);
  const std::string first = keep("1");
  const std::string second = keep("2");
  const Json page = Json::parse(ask("GET", "/v1/files", "", {{"limit", "1"}}).body);
  EXPECT_EQ(page["object"], "list");
  EXPECT_EQ(page["first_id"], second);
  EXPECT_EQ(page["last_id"], second);
  EXPECT_EQ(page["has_more"], true);
  EXPECT_EQ(Json::parse(ask("GET", "/v1/files", "", {{"order", "asc"}}).body)["first_id"], first);
  EXPECT_EQ(ask("GET", "/v1/files", "", {{"after", "file-none"}}).status, 404);
}

TEST_F(FilesApiTest, ALimitIsANumberInItsRange) {
  for (const char* const wrong : {"", "0", "-1", "10001", "1e2", " 5", "5 ", "18446744073709551617"})
    EXPECT_EQ(ask("GET", "/v1/files", "", {{"limit", wrong}}).status, 400) << wrong;
  EXPECT_EQ(ask("GET", "/v1/files", "", {{"limit", "10000"}}).status, 200);
  EXPECT_EQ(ask("GET", "/v1/batches", "", {{"limit", "101"}}).status, 400);
  EXPECT_EQ(ask("GET", "/v1/batches", "", {{"limit", "100"}}).status, 200);
}

TEST_F(FilesApiTest, ABatchBeginsWithAFileForBatches) {
  const Json body = {
      {"input_file_id", keep("x")}, {"endpoint", "/v1/completions"}, {"completion_window", "48h"}};
  const Json batch = create(body);
  EXPECT_EQ(batch["status"], "validating");
  EXPECT_EQ(batch["expires_at"].get<std::int64_t>() - batch["created_at"].get<std::int64_t>(), 48 * 3600);
  EXPECT_EQ(store_->open_batches()->size(), 1U);

  const auto wrong = [&](const char* name, const Json& value) {
    Json other = body;
    other[name] = value;
    return error_of(create(other));
  };
  EXPECT_THAT(wrong("input_file_id", nullptr), StartsWith("input_file_id: "));
  EXPECT_THAT(wrong("input_file_id", "file-none"), StartsWith("input_file_id: "));
  EXPECT_THAT(wrong("input_file_id", keep("x", "other")), StartsWith("input_file_id: "));
  EXPECT_THAT(wrong("endpoint", "/v1/models"), StartsWith("endpoint: "));
  for (const char* const window : {"", "24", "0h", "-1h", "24hh", "8761h", "99999999999999999999h"})
    EXPECT_THAT(wrong("completion_window", window), StartsWith("completion_window: ")) << window;
  EXPECT_THAT(wrong("metadata", "x"), StartsWith("metadata: "));
  EXPECT_THAT(wrong("metadata", {{"a", 1}}), StartsWith("metadata: "));
  EXPECT_THAT(wrong("metadata", {{"a", std::string(513, 'x')}}), StartsWith("metadata: "));
  EXPECT_EQ(store_->open_batches()->size(), 1U) << "none of these became a batch";
}

TEST_F(FilesApiTest, ABatchIsCancelledUntilItIsWrittenOut) {
  const std::string id = add_batch("file-1");
  const auto cancel = [&] { return ask("POST", "/v1/batches/" + id + "/cancel"); };
  EXPECT_EQ(Json::parse(cancel().body)["status"], "cancelling");
  EXPECT_EQ(cancel().status, 200) << "again changes nothing";
  for (const char* const status : {"finalizing", "completed", "expired"}) {
    ASSERT_TRUE(store_->change_batch(id, [&](Json& batch) {
      batch["status"] = status;
      return Status{};
    }));
    EXPECT_EQ(cancel().status, 400) << status;
  }
  EXPECT_EQ(ask("POST", "/v1/batches/batch_none/cancel").status, 404);
}

TEST_F(FilesApiTest, FilesThatAreSentTakeMemoryThatIsCounted) {
  const std::string id = keep("x");
  limits_.all = Bytes{1000};
  EXPECT_EQ(ask("GET", "/v1/files/" + id + "/content").status, 429);
  EXPECT_EQ(upload({{"purpose", "batch"}, {"file", "x"}}).status, 429);
  EXPECT_EQ(limits_.taken, 0U);
}

}  // namespace
}  // namespace brimful::serve
