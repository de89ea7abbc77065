/* Shared by the kernels: vectors as wide as the machine's, and the description of a layer. */

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define EXPORT extern "C" __attribute__((visibility("default")))
// Lets Python check that its mirror of the struct has the same size.
#define EXPORT_SIZE(Struct) \
  EXPORT size_t timeception_sizeof_##Struct() { return sizeof(Struct); }

#if defined(__AVX512F__)
constexpr int VW = 16;  // floats in a vector
constexpr int MR = 12;  // rows of a tile: its sums, inputs and weight fit the registers
#elif defined(__AVX__)
constexpr int VW = 8;
constexpr int MR = 6;
#else
constexpr int VW = 4;
constexpr int MR = 6;
#endif
constexpr int NV = 2;  // vectors in a row of a tile
constexpr int NR = NV * VW;

typedef float vec __attribute__((vector_size(VW * sizeof(float))));
typedef float loose_vec __attribute__((vector_size(VW * sizeof(float)), aligned(4)));

inline vec load(const float *from) { return *reinterpret_cast<const loose_vec *>(from); }
inline void store(float *to, vec value) { *reinterpret_cast<loose_vec *>(to) = value; }

// bfloat16: the upper half of a float's bits.
struct bfloat16 {
  uint16_t bits;
};
typedef uint32_t bits_vec __attribute__((vector_size(VW * sizeof(float))));
typedef uint16_t half_vec __attribute__((vector_size(VW * sizeof(uint16_t))));

inline float widen(float value) { return value; }
inline float widen(bfloat16 value) {
  const uint32_t bits = uint32_t(value.bits) << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

// Round to the nearest bfloat16, ties to even; a NaN stays one.
inline void store(bfloat16 *to, vec value) {
  const bits_vec bits = (bits_vec)value;
  const bits_vec rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const bits_vec chosen = value != value ? (bits >> 16) | 0x40 : rounded;
  const half_vec halves = __builtin_convertvector(chosen, half_vec);
  memcpy(to, &halves, sizeof(halves));
}

// NaN propagates, as in PyTorch.
inline vec maximum(vec a, vec b) { return (a > b) | (a != a) ? a : b; }
inline vec relu(vec a) { return a <= 0 ? vec{} : a; }
inline float maximum(float a, float b) { return (a > b) | (a != a) ? a : b; }
inline float relu(float a) { return a <= 0 ? 0 : a; }

inline size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Temporal {
  int n_taps;
  const int *taps;       // temporal offsets
  const float *weights;  // G * C_b, n_taps
  const float *bias;     // G * C_b
};

struct Layer {
  int n_groups, group_channels, branch_channels;
  int timesteps, positions;
  int margin, pool_offset;
  const float *kernels;  // G, 5 * C_b, C / G
  const float *bias;     // G, 5 * C_b
  Temporal temporal[3];
  const float *pool_sign, *pool_shift;  // G * C_b
};
