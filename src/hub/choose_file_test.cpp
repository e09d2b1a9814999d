#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hub/repository.h"

namespace brimful::hub {
namespace {

using testing::HasSubstr;
using Paths = std::vector<std::string>;

std::string chosen(const Paths& paths, const std::optional<std::string>& quantisation = std::nullopt) {
  const auto path = choose_file(paths, quantisation);
  return path ? *path : "refused: " + path.error().message;
}

const Paths kMany{".gitattributes",
                  "README.md",
                  "imatrix.gguf",
                  "m-BF16-00001-of-00002.gguf",
                  "m-BF16-00002-of-00002.gguf",
                  "m-IQ4_XS.gguf",
                  "m-Q4_K_S.gguf",
                  "m-Q4_K_M.gguf",
                  "m-Q8_0.gguf",
                  "mmproj-m-Q4_K_M.gguf",
                  "UD-Q2_K_XL/m-UD-Q2_K_XL-00001-of-00002.gguf",
                  "UD-Q2_K_XL/m-UD-Q2_K_XL-00002-of-00002.gguf"};

TEST(ChooseFile, TakesTheQuantisationAskedForInAnyCase) {
  EXPECT_EQ(chosen(kMany, "Q8_0"), "m-Q8_0.gguf");
  EXPECT_EQ(chosen(kMany, "q8_0"), "m-Q8_0.gguf");
  EXPECT_EQ(chosen(kMany, "iq4_xs"), "m-IQ4_XS.gguf");
  EXPECT_EQ(chosen({"mistral_q5_k_m.gguf"}, "Q5_K_M"), "mistral_q5_k_m.gguf");
  EXPECT_EQ(chosen({"m.Q6_K.gguf"}, "Q6_K"), "m.Q6_K.gguf");
}

TEST(ChooseFile, TakesTheFirstPartOfASplitModel) {
  EXPECT_EQ(chosen(kMany, "BF16"), "m-BF16-00001-of-00002.gguf");
  EXPECT_EQ(chosen({"m-Q8_0-00002-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf"}),
            "m-Q8_0-00001-of-00002.gguf");
  for (const char* name : {"UD-Q2_K_XL", "Q2_K_XL", "q2_k_xl"}) {
    EXPECT_EQ(chosen(kMany, name), "UD-Q2_K_XL/m-UD-Q2_K_XL-00001-of-00002.gguf");
  }
}

TEST(ChooseFile, FindsTheQuantisationInAFoldersName) {
  const Paths paths{"BF16/model.gguf", "Q3_K_L/model-00001-of-00002.gguf",
                    "Q3_K_L/model-00002-of-00002.gguf"};
  EXPECT_EQ(chosen(paths, "Q3_K_L"), "Q3_K_L/model-00001-of-00002.gguf");
  // The name counts more than the folder.
  EXPECT_EQ(chosen({"Q4_0/m-Q5_0.gguf", "m-Q4_0.gguf"}, "Q4_0"), "m-Q4_0.gguf");
}

TEST(ChooseFile, PrefersQ4WhereNothingIsAskedFor) {
  EXPECT_EQ(chosen(kMany), "m-Q4_K_M.gguf");
  EXPECT_EQ(chosen({"m-Q2_K.gguf", "m-IQ4_XS.gguf", "m-Q4_K_S.gguf", "m-Q4_0.gguf"}), "m-Q4_K_S.gguf");
  EXPECT_EQ(chosen({"m-Q2_K.gguf", "m-IQ4_XS.gguf", "m-Q5_K_M.gguf"}), "m-IQ4_XS.gguf");
  EXPECT_EQ(chosen({"m-BF16.gguf", "m-Q2_K.gguf", "m-Q8_0.gguf"}), "m-Q8_0.gguf") << "as llama.cpp";
  EXPECT_EQ(chosen({"m-BF16.gguf", "m-Q6_K.gguf", "m-Q8_0.gguf"}), "m-Q6_K.gguf");
  EXPECT_EQ(chosen({"m-F16.gguf", "m-mxfp4.gguf"}), "m-mxfp4.gguf");
  EXPECT_EQ(chosen({"README.md", "stories.gguf"}), "stories.gguf");
}

TEST(ChooseFile, TakesAFileByItsPath) {
  const Paths paths{"UD/m-Q4_0.gguf", "m-Q4_0.gguf", "notes.gguf"};
  EXPECT_EQ(chosen(paths, "m-Q4_0.gguf"), "m-Q4_0.gguf");
  EXPECT_EQ(chosen(paths, "UD/m-Q4_0.gguf"), "UD/m-Q4_0.gguf");
  EXPECT_THAT(chosen(paths, "m-Q5_0.gguf"), HasSubstr("it has no model file 'm-Q5_0.gguf'"));
  EXPECT_EQ(tag_of(paths, "UD/m-Q4_0.gguf"), "Q4_0");
  EXPECT_EQ(tag_of(paths, "m-Q4_0.gguf"), "m-Q4_0.gguf") << "Q4_0 is the other one";
  EXPECT_EQ(tag_of(paths, "notes.gguf"), "notes.gguf");
  EXPECT_EQ(tag_of(Paths{"notes.gguf"}, "notes.gguf"), "");
}

TEST(ChooseFile, DoesNotTakeAQuantisationForAPartOfAnother) {
  EXPECT_THAT(chosen({"m-Q4_K_M.gguf"}, "Q4_K"), HasSubstr("refused"));
  EXPECT_THAT(chosen({"m-IQ4_XS.gguf"}, "Q4_XS"), HasSubstr("refused"));
  EXPECT_THAT(chosen({"m-Q4_0_4_4.gguf"}, "Q4_0"), HasSubstr("refused"));
}

TEST(ChooseFile, ListsWhatThereIs) {
  EXPECT_EQ(chosen(kMany, "Q5_K_M"),
            "refused: it has no 'Q5_K_M'; it has: BF16, IQ4_XS, Q4_K_S, Q4_K_M, Q8_0, Q2_K_XL; do you mean "
            "'Q4_K_M'?");
  EXPECT_THAT(chosen(kMany, "q4km"), HasSubstr("do you mean 'Q4_K_M'?"));
  EXPECT_THAT(chosen(kMany, "q80"), HasSubstr("do you mean 'Q8_0'?"));
  EXPECT_THAT(chosen({"sto\nries.gguf"}, "Q4_0"), HasSubstr("it has: sto␊ries.gguf"));
  Paths hundred;
  for (int i = 0; i < 100; ++i) hundred.push_back("a" + std::to_string(i) + ".gguf");
  EXPECT_THAT(chosen(hundred, "Q4_0"), HasSubstr("a39.gguf and 60 more"));
}

TEST(ChooseFile, RefusesARepositoryWithoutModels) {
  for (const Paths& paths : {Paths{}, Paths{"model.safetensors"}, Paths{"mmproj-F16.gguf"},
                             Paths{"mmproj/m-Q4_K_M.gguf", "m-imatrix.gguf", "mtp-m-Q8_0.gguf"}}) {
    EXPECT_THAT(chosen(paths), HasSubstr("it has no GGUF model"));
  }
}

TEST(QuantisationOf, IsTheLastInTheName) {
  const auto expect = [](const char* path, const char* quantisation) {
    EXPECT_EQ(quantisation_of(path), quantisation) << path;
  };
  expect("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "Q4_K_M");
  expect("phi-2.Q5_0.gguf", "Q5_0");
  expect("mistral_7b_q8_0.gguf", "Q8_0");
  expect("gpt-oss-20b-mxfp4.gguf", "MXFP4");
  expect("a/b-bf16-00001-of-00003.gguf", "BF16");
  expect("IQ2_XXS/model.gguf", "IQ2_XXS");
  expect("TQ1_0/model-TQ2_0.gguf", "TQ2_0");
  expect("stories15M.gguf", "");
}

TEST(HubModel, IsNamedAsLlamaCppDoes) {
  const auto plain = parse_hub_model("ggml-org/gemma-3-1b-it-GGUF");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->repository, "ggml-org/gemma-3-1b-it-GGUF");
  EXPECT_FALSE(plain->quantisation);
  const auto exact = parse_hub_model("a/b:UD-Q4_K_XL");
  ASSERT_TRUE(exact);
  EXPECT_EQ(exact->repository, "a/b");
  EXPECT_EQ(exact->quantisation, "UD-Q4_K_XL");
}

TEST(HubModel, IsFoundInWhatPeopleCopy) {
  const auto expect = [](const char* text, const char* repository, const char* tag) {
    const auto model = parse_hub_model(text);
    ASSERT_TRUE(model) << text << ": " << model.error().message;
    EXPECT_EQ(model->repository, repository) << text;
    EXPECT_EQ(model->quantisation.value_or(""), tag) << text;
  };
  expect("https://huggingface.co/a/b", "a/b", "");
  expect("http://huggingface.co/a/b/", "a/b", "");
  expect("huggingface.co/a/b", "a/b", "");
  expect("hf.co/a/b:Q4_K_M", "a/b", "Q4_K_M");
  expect("hf://a/b", "a/b", "");
  expect("https://huggingface.co/a/b/tree/main", "a/b", "");
  expect("https://huggingface.co/a/b/blob/main/m-Q8_0.gguf", "a/b", "m-Q8_0.gguf");
  expect("https://huggingface.co/a/b/resolve/main/sub/m.gguf?download=true", "a/b", "sub/m.gguf");
  expect("a/b:latest", "a/b", "");
  expect("a/b:sub/m-Q8_0.gguf", "a/b", "sub/m-Q8_0.gguf");
}

TEST(HubModel, SaysHowToWriteIt) {
  const auto message = [](const char* text) { return parse_hub_model(text).error().message; };
  EXPECT_THAT(message("a/b/m-Q8_0.gguf"), HasSubstr("write a/b:m-Q8_0.gguf"));
  EXPECT_THAT(message("a/b:"), HasSubstr("leave the colon out"));
  EXPECT_THAT(message("gemma"), HasSubstr("search=gemma"));
  EXPECT_THAT(message("two words"), testing::Not(HasSubstr("search=")));
}

TEST(HubModel, RefusesOtherNames) {
  for (const char* bad : {"",
                          "a",
                          "a/",
                          "/b",
                          "a/b/c",
                          "a/b:",
                          "a/b:c:d",
                          "a/b:../x",
                          "../b",
                          "a/..",
                          "a b/c",
                          "https://example.com/a/b",
                          "https://huggingface.co/a/b/tree/other",
                          "a:b/c",
                          "https://huggingface.co/",
                          "https://",
                          "hf://",
                          "a/b:../x.gguf",
                          "a/b:/x.gguf",
                          "https://huggingface.co/a/b/blob/main/../x.gguf"}) {
    const auto model = parse_hub_model(bad);
    ASSERT_FALSE(model) << bad;
    EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(model.error().message, HasSubstr("is not the name of a model on the hub: "));
  }
}

}  // namespace
}  // namespace brimful::hub
