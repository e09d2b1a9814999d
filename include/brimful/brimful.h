#pragma once

// Includes the complete C++ interface of Brimful, a library that runs GGUF models within byte budgets.

#include <brimful/budgets.h>
#include <brimful/bytes.h>
#include <brimful/forecast.h>
#include <brimful/machine.h>
#include <brimful/model.h>
#include <brimful/process.h>
#include <brimful/result.h>
#include <brimful/sampling.h>
#include <brimful/session.h>
#include <brimful/version.h>
