/* One Timeception layer in evaluation, in one pass over its input.
 *
 * For a clip and a group, blocks of timesteps are taken in turn: their pointwise convolutions (a
 * matrix product on packed panels) go to a ring of recent timesteps that stays in cache; from it
 * come the temporal branches, ReLU, the pooling of pairs and the shuffle, written once.
 * Batch normalisation has been folded into the arrays by the caller.
 */

#include "common.hpp"

using std::max;
using std::min;

namespace {

constexpr int BLOCK = 8;         // timesteps computed at a time; even, and more than any margin
constexpr int RING = 2 * BLOCK;  // timesteps kept
constexpr int CHUNK = 8 * NR;    // columns packed at a time

// Rows of kernels, MR at a time, column by column: what the product reads in order.
void pack_rows(const float *kernels, int rows, int depth, float *packed) {
  for (int first = 0; first < rows; first += MR)
    for (int k = 0; k < depth; k++)
      for (int i = 0; i < MR; i++)
        *packed++ = first + i < rows ? kernels[size_t(first + i) * depth + k] : 0;
}

// Columns of the input, NR at a time; those beyond n_columns are zero.
template <typename Number>
void pack_columns(const Number *x, size_t stride, int depth, int n_columns, float *packed) {
  const int whole = n_columns / NR * NR;
  for (int k = 0; k < depth; k++) {
    const Number *row = x + size_t(k) * stride;
    for (int j = 0; j < whole; j += NR) {
      float *__restrict to = packed + size_t(j) * depth + size_t(k) * NR;
      for (int i = 0; i < NR; i++) to[i] = widen(row[j + i]);
    }
    if (whole < n_columns) {
      float *last = packed + size_t(whole) * depth + size_t(k) * NR;
      for (int j = 0; j < NR; j++) last[j] = whole + j < n_columns ? widen(row[whole + j]) : 0;
    }
  }
}

// MR x NR numbers of the product, with a bias for each row.
inline void tile(const float *rows, const float *columns, int depth, const float *bias,
                        int n_rows, int n_columns, float *out, size_t stride) {
  vec sums[MR][NV];
  for (int i = 0; i < MR; i++)
    for (int v = 0; v < NV; v++) sums[i][v] = vec{} + (i < n_rows ? bias[i] : 0);
  for (int k = 0; k < depth; k++) {
    vec b[NV];
    for (int v = 0; v < NV; v++) b[v] = load(columns + v * VW);
    for (int i = 0; i < MR; i++)
      for (int v = 0; v < NV; v++) sums[i][v] += rows[i] * b[v];
    rows += MR;
    columns += NR;
  }
  if (n_columns == NR) {
    for (int i = 0; i < n_rows; i++)
      for (int v = 0; v < NV; v++) store(out + i * stride + v * VW, sums[i][v]);
  } else {
    for (int i = 0; i < n_rows; i++) {
      float row[NR];
      for (int v = 0; v < NV; v++) store(row + v * VW, sums[i][v]);
      memcpy(out + i * stride, row, n_columns * sizeof(float));
    }
  }
}

template <typename Number>
void product(const float *packed_rows, const float *bias, int n_rows, int depth,
             const Number *x, size_t x_stride, int n_columns, float *packed_columns,
                    float *out, size_t out_stride) {
  for (int first = 0; first < n_columns; first += CHUNK) {
    const int width = min(CHUNK, n_columns - first);
    pack_columns(x + first, x_stride, depth, width, packed_columns);
    for (int j = 0; j < width; j += NR)
      for (int i = 0; i < n_rows; i += MR)
        tile(packed_rows + size_t(i) * depth, packed_columns + size_t(j) * depth, depth, bias + i,
             min(MR, n_rows - i), min(NR, width - j), out + i * out_stride + first + j,
             out_stride);
  }
}

// Where a row of the ring keeps step t, which is above -RING.
inline float *slot(float *ring, int row, int t, int positions) {
  return ring + (size_t(row) * RING + (t + RING) % RING) * positions;
}

inline const float *step(const float *row, int t, int positions) {
  return row + size_t((t + RING) % RING) * positions;
}

// Write `value(s)` for every position s of a map, in whole vectors; the last one overlaps.
// Reading a vector beyond a small map is harmless in the ring, writing is not.
template <typename Number, typename Value>
inline void for_positions(int positions, Number *out, Value value) {
  if (positions < VW) {
    Number row[VW];
    store(row, value(0));
    memcpy(out, row, positions * sizeof(Number));
    return;
  }
  for (int at = 0; at < positions; at += VW) {
    const int s = min(at, positions - VW);
    store(out + s, value(s));
  }
}

// relu of the pair's maximum of a temporal convolution
template <int N, typename Number>
inline void convolve_pair(const float *row, int t, int positions, const Temporal &conv, int channel,
                          Number *out) {
  const float *first[N], *second[N], *weights = conv.weights + size_t(channel) * N;
  for (int j = 0; j < N; j++) {
    first[j] = step(row, t + conv.taps[j], positions);
    second[j] = step(row, t + 1 + conv.taps[j], positions);
  }
  const vec bias = vec{} + conv.bias[channel];
  for_positions(positions, out, [&](int s) {
    vec a = bias, b = bias;
    for (int j = 0; j < N; j++) {
      a += weights[j] * load(first[j] + s);
      b += weights[j] * load(second[j] + s);
    }
    return relu(maximum(a, b));
  });
}

// What a channel of the ring gives for the pair of steps t, t + 1.
template <typename Number>
void finish_pair(const Layer &layer, int branch, int channel, const float *row, int t,
                 Number *out) {
  const int positions = layer.positions;
  if (branch >= 1 && branch <= 3) {
    const Temporal &conv = layer.temporal[branch - 1];
    if (conv.n_taps == 3)
      convolve_pair<3>(row, t, positions, conv, channel, out);
    else if (conv.n_taps == 5)
      convolve_pair<5>(row, t, positions, conv, channel, out);
    else
      convolve_pair<7>(row, t, positions, conv, channel, out);
    return;
  }
  const float *a = step(row, t, positions), *b = step(row, t + 1, positions);
  if (branch == 0) {
    for_positions(positions, out, [&](int s) { return relu(maximum(load(a + s), load(b + s))); });
    return;
  }
  const float *a2 = step(row, t + layer.pool_offset, positions);
  const float *b2 = step(row, t + 1 + layer.pool_offset, positions);
  const float sign = layer.pool_sign[channel], shift = layer.pool_shift[channel];
  for_positions(positions, out, [&](int s) {
    const vec first = maximum(load(a + s), load(a2 + s)) * sign;
    const vec second = maximum(load(b + s), load(b2 + s)) * sign;
    return relu(maximum(first, second) + shift);
  });
}

// A step beyond an end, as the temporal convolutions read it.
void fill_with_zeros(const Layer &layer, float *ring, int t) {
  const int width = layer.branch_channels, positions = layer.positions;
  for (int row = width; row < 4 * width; row++)
    memset(slot(ring, row, t, positions), 0, positions * sizeof(float));
}

// A step beyond an end, as branch 5 reads it: a copy of another step.
void repeat_for_maximum(const Layer &layer, float *ring, int t, int repeated) {
  const int width = layer.branch_channels, positions = layer.positions;
  for (int row = 4 * width; row < 5 * width; row++)
    memcpy(slot(ring, row, t, positions), slot(ring, row, repeated, positions),
           positions * sizeof(float));
}

// Write the pairs from `done` up to `ready`; returns how many are written then.
template <typename Number>
int finish(const Layer &layer, int group, const float *ring, int done, int ready, Number *out) {
  const int width = layer.branch_channels, positions = layer.positions;
  const int halved = layer.timesteps / 2;
  for (int row = 0; row < 5 * width; row++) {
    Number *target = out + size_t(row * layer.n_groups + group) * halved * positions;
    for (int pair = done; pair < ready; pair++)
      finish_pair(layer, row / width, group * width + row % width,
                  ring + size_t(row) * RING * positions, 2 * pair,
                  target + size_t(pair) * positions);
  }
  return max(done, ready);
}

template <typename Number>
void one_group(const Layer &layer, const Number *x, Number *out, int group, float *scratch) {
  const int rows = 5 * layer.branch_channels, depth = layer.group_channels;
  const int positions = layer.positions, timesteps = layer.timesteps, margin = layer.margin;
  const size_t x_stride = size_t(timesteps) * positions;
  float *packed_rows = scratch, *packed_columns = packed_rows + round_up(rows, MR) * depth;
  float *ring = packed_columns + size_t(CHUNK) * depth;

  pack_rows(layer.kernels + size_t(group) * rows * depth, rows, depth, packed_rows);
  for (int t = -margin; t < 0; t++) fill_with_zeros(layer, ring, t);
  int done = 0;
  for (int t0 = 0; t0 < timesteps; t0 += BLOCK) {
    const int known = min(t0 + BLOCK, timesteps);
    product(packed_rows, layer.bias + size_t(group) * rows, rows, depth,
            x + size_t(t0) * positions, x_stride, (known - t0) * positions, packed_columns,
            ring + size_t(t0 % RING) * positions, size_t(RING) * positions);
    if (t0 == 0 && layer.pool_offset < 0) repeat_for_maximum(layer, ring, -1, 1);
    done = finish(layer, group, ring, done, (known - margin) / 2, out);
  }
  for (int t = timesteps; t < timesteps + margin; t++) fill_with_zeros(layer, ring, t);
  if (layer.pool_offset > 0) repeat_for_maximum(layer, ring, timesteps, timesteps - 1);
  finish(layer, group, ring, done, timesteps / 2, out);
}

template <typename Number>
bool all_groups(const Layer &layer, const Number *x, Number *out, int n_clips, int n_threads) {
  const size_t in_group = size_t(layer.group_channels) * layer.timesteps * layer.positions;
  const size_t out_clip = size_t(5) * layer.branch_channels * layer.n_groups *
                          (layer.timesteps / 2) * layer.positions;
  const size_t rows = round_up(5 * layer.branch_channels, MR);
  const size_t floats = rows * layer.group_channels + size_t(CHUNK) * layer.group_channels +
                        rows * RING * layer.positions + VW;
  bool failed = false;
#pragma omp parallel num_threads(n_threads) reduction(|| : failed)
  {
    void *memory = aligned_alloc(64, round_up(floats * sizeof(float), 64));
    failed = memory == nullptr;
#pragma omp for schedule(dynamic)
    for (int task = 0; task < n_clips * layer.n_groups; task++)
      if (memory) {
        const int clip = task / layer.n_groups, group = task % layer.n_groups;
        one_group(layer, x + task * in_group, out + clip * out_clip, group,
                  static_cast<float *>(memory));
      }
    free(memory);
  }
  return !failed;
}

}  // namespace

// x: N, C, T, S; out: N, C_out, T / 2, S, shuffled. Return 0 if memory ran out.
EXPORT int timeception_evaluate(const Layer *layer, const float *x, float *out, int n_clips,
                                int n_threads) {
  return all_groups(*layer, x, out, n_clips, n_threads);
}

EXPORT int timeception_evaluate_bfloat16(const Layer *layer, const bfloat16 *x, bfloat16 *out,
                                         int n_clips, int n_threads) {
  return all_groups(*layer, x, out, n_clips, n_threads);
}
