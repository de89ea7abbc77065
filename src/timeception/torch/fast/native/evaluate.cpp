/* One Timeception layer in evaluation, in one pass over its input.
 *
 * Each clip and group is processed in blocks of timesteps. The pointwise convolutions of a block (a
 * matrix product on packed panels) are written to a ring of recent timesteps that stays in cache.
 * Temporal branches, ReLU, pooling and shuffle read the ring and write the result once.
 * The caller folds batch normalisation into the arrays. A caller that keeps the ring may pass a
 * video part by part.
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

// Prefetch the input of the next chunk: its rows are too far apart for the hardware prefetcher.
template <typename Number>
inline void prefetch_rows(const Number *x, size_t stride, int n_rows, int n_columns) {
  for (int k = 0; k < n_rows; k++)
    for (int j = 0; j < n_columns; j += 64 / int(sizeof(Number)))
      __builtin_prefetch(x + size_t(k) * stride + j, 0, 2);
}

// The pointwise convolutions of n_columns; the input has n_columns_left from here.
template <typename Number>
void product(const float *packed_rows, const float *bias, int n_rows, int depth, const Number *x,
             size_t x_stride, int n_columns, int n_columns_left, float *packed_columns, float *out,
             size_t out_stride) {
  for (int first = 0; first < n_columns; first += CHUNK) {
    const int width = min(CHUNK, n_columns - first);
    const int next_width = min(CHUNK, n_columns_left - first - width);
    const int n_tiles = (width + NR - 1) / NR * ((n_rows + MR - 1) / MR);
    const int rows_per_tile = (depth + n_tiles - 1) / n_tiles;
    pack_columns(x + first, x_stride, depth, width, packed_columns);
    int asked = 0;  // rows of the next chunk
    for (int j = 0; j < width; j += NR)
      for (int i = 0; i < n_rows; i += MR) {
        const int rows_now = min(rows_per_tile, depth - asked);
        prefetch_rows(x + asked * x_stride + first + width, x_stride, rows_now, next_width);
        asked += rows_now;
        tile(packed_rows + size_t(i) * depth, packed_columns + size_t(j) * depth, depth, bias + i,
             min(MR, n_rows - i), min(NR, width - j), out + i * out_stride + first + j,
             out_stride);
      }
  }
}

// Where a row of the ring stores timestep t; t > -RING.
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

// ReLU of the maximum of a temporal convolution over a pair of timesteps.
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

// Compute the output of one channel for the pair of timesteps t, t + 1.
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

// The part of a video that one call processes.
struct Part {
  int first, n_steps, is_last;           // timesteps: in earlier parts, in this part
  int n_before, n_pairs;                 // output steps: of earlier parts, of this part
  size_t clip_stride, channel_stride;    // of x
  float *rings;                          // N, G, 5 * C_b, RING, S, kept by the caller; or null
};

// The rows of one task: some output channels of a group, for one clip.
struct Rows {
  int group, first, n;
  float *ring;  // n, RING, S
};

// A timestep outside the video, as the temporal convolutions read it.
void fill_with_zeros(const Layer &layer, const Rows &rows, int t) {
  const int width = layer.branch_channels, positions = layer.positions;
  for (int i = 0; i < rows.n; i++)
    if (rows.first + i >= width && rows.first + i < 4 * width)
      memset(slot(rows.ring, i, t, positions), 0, positions * sizeof(float));
}

// A timestep outside the video, as branch 5 reads it: a copy of another one.
void repeat_for_maximum(const Layer &layer, const Rows &rows, int t, int repeated) {
  const int width = layer.branch_channels, positions = layer.positions;
  for (int i = 0; i < rows.n; i++)
    if (rows.first + i >= 4 * width)
      memcpy(slot(rows.ring, i, t, positions), slot(rows.ring, i, repeated, positions),
             positions * sizeof(float));
}

// Write the pairs from `done` up to `ready`; returns the number of pairs written so far.
template <typename Number>
int finish(const Layer &layer, const Part &part, const Rows &rows, int done, int ready,
           Number *out) {
  const int width = layer.branch_channels, positions = layer.positions;
  for (int i = 0; i < rows.n; i++) {
    const int row = rows.first + i, channel = rows.group * width + row % width;
    Number *target = out + size_t(row * layer.n_groups + rows.group) * part.n_pairs * positions;
    for (int pair = done; pair < ready; pair++)
      finish_pair(layer, row / width, channel, rows.ring + size_t(i) * RING * positions, 2 * pair,
                  target + size_t(pair - part.n_before) * positions);
  }
  return max(done, ready);
}

// x points to the task's clip and group, out to its clip.
template <typename Number>
void run(const Layer &layer, const Part &part, const Rows &rows, const Number *x, Number *out,
         float *scratch) {
  const int depth = layer.group_channels, positions = layer.positions, margin = layer.margin;
  const size_t first_row = size_t(rows.group) * 5 * layer.branch_channels + rows.first;
  float *packed_rows = scratch, *packed_columns = scratch + round_up(rows.n, MR) * depth;
  pack_rows(layer.kernels + first_row * depth, rows.n, depth, packed_rows);

  const int end = part.first + part.n_steps;
  int done = part.n_before;
  if (part.first == 0)
    for (int t = -margin; t < 0; t++) fill_with_zeros(layer, rows, t);
  for (int t = part.first, known; t < end; t = known) {
    known = min((t / BLOCK + 1) * BLOCK, end);  // a block never wraps around the ring
    product(packed_rows, layer.bias + first_row, rows.n, depth,
            x + size_t(t - part.first) * positions, part.channel_stride, (known - t) * positions,
            (end - t) * positions, packed_columns, slot(rows.ring, 0, t % RING, positions),
            size_t(RING) * positions);
    if (t <= 1 && known > 1 && layer.pool_offset < 0) repeat_for_maximum(layer, rows, -1, 1);
    done = finish(layer, part, rows, done, (known - margin) / 2, out);
  }
  if (part.is_last) {
    for (int t = end; t < end + margin; t++) fill_with_zeros(layer, rows, t);
    if (layer.pool_offset > 0) repeat_for_maximum(layer, rows, end, end - 1);
    finish(layer, part, rows, done, end / 2, out);
  }
}

template <typename Number>
bool run_all(const Layer &layer, const Part &part, const Number *x, Number *out, int n_clips,
             int n_threads) {
  const int rows = 5 * layer.branch_channels, depth = layer.group_channels;
  const int groups = n_clips * layer.n_groups;
  const int wanted = (n_threads + groups - 1) / groups;  // tasks per group to occupy every thread
  const int rows_per_task = int(round_up((rows + wanted - 1) / wanted, MR));
  const int tasks_per_group = (rows + rows_per_task - 1) / rows_per_task;
  const size_t row_ring = size_t(RING) * layer.positions;
  const size_t out_clip = size_t(rows) * layer.n_groups * part.n_pairs * layer.positions;
  const size_t packed = size_t(rows_per_task + CHUNK) * depth;
  const size_t floats = packed + (part.rings ? 0 : rows_per_task * row_ring + VW);
  bool failed = false;
#pragma omp parallel num_threads(n_threads) reduction(|| : failed)
  {
    void *memory = aligned_alloc(64, round_up(floats * sizeof(float), 64));
    float *scratch = static_cast<float *>(memory);
    failed = memory == nullptr;
#pragma omp for schedule(dynamic)
    for (int task = 0; task < groups * tasks_per_group; task++)
      if (memory) {
        const int of_all = task / tasks_per_group, first = task % tasks_per_group * rows_per_task;
        const int clip = of_all / layer.n_groups, group = of_all % layer.n_groups;
        float *ring = part.rings ? part.rings + (size_t(of_all) * rows + first) * row_ring
                                 : scratch + packed;
        const Rows own{group, first, min(rows_per_task, rows - first), ring};
        const size_t in_clip = size_t(group) * depth * part.channel_stride;
        run(layer, part, own, x + clip * part.clip_stride + in_clip, out + clip * out_clip,
            scratch);
      }
    free(memory);
  }
  return !failed;
}

}  // namespace

EXPORT_SIZE(Temporal)
EXPORT_SIZE(Layer)
EXPORT_SIZE(Part)

// Timesteps in a ring, and floats in a vector; kernels read one vector beyond the last ring.
EXPORT int timeception_ring() { return RING; }
EXPORT int timeception_vector() { return VW; }

// x: N, C, n_steps, S, by its strides; out: N, C_out, n_pairs, S, shuffled. Return 0 if memory runs
// out.
EXPORT int timeception_evaluate(const Layer *layer, const Part *part, const float *x, float *out,
                                int n_clips, int n_threads) {
  return run_all(*layer, *part, x, out, n_clips, n_threads);
}

EXPORT int timeception_evaluate_bfloat16(const Layer *layer, const Part *part, const bfloat16 *x,
                                         bfloat16 *out, int n_clips, int n_threads) {
  return run_all(*layer, *part, x, out, n_clips, n_threads);
}
