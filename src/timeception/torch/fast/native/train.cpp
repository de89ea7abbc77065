/* The epilogue in training, which follows the pointwise convolutions: temporal branches, batch
 * normalisation, ReLU, shuffle and pooling, forward and backward.
 *
 * Channels are independent, so each is processed alone, with all clips, and stays in cache. The
 * forward pass stores only its result; the backward pass recomputes the rest.
 */

#include "common.hpp"

namespace {

struct Norm {
  const float *weight, *bias;
  float *mean, *variance;  // of the batch: written by the forward pass if by_batch
  float eps;
  int by_batch;
};

struct Gradients {
  float *y, *bias;  // of the pointwise convolutions
  float *temporal_weights[3], *temporal_bias[3];
  float *norm_weight, *norm_bias;
};

// A channel before the shuffle; index order (group, branch, channel).
struct Channel {
  const Layer &layer;
  int index, branch, in_branch, shuffled;

  Channel(const Layer &layer, int index) : layer(layer), index(index) {
    const int width = layer.branch_channels, group = index / (5 * width);
    branch = index / width % 5;
    in_branch = group * width + index % width;
    shuffled = index % (5 * width) * layer.n_groups + group;
  }
  const Temporal *temporal() const {
    return branch >= 1 && branch <= 3 ? &layer.temporal[branch - 1] : nullptr;
  }
};

struct Scratch {
  float *padded;  // one clip of y with its bias, padded in time
  float *z;       // all clips after the temporal branch
  float *g, *dz;  // all clips: gradient before the normalisation; one clip, padded with zeros
};

inline vec read(const float *from, vec) { return load(from); }
inline float read(const float *from, float) { return *from; }

// Sum term(i, type) over i below n; `type` has the type of the result, a vector or a float.
template <typename Term>
double sum_terms(int n, Term term) {
  double total = 0;
  for (int first = 0; first < n; first += 4096) {  // short sums in float, long ones in double
    const int end = std::min(n, first + 4096);
    vec parts{};
    int i = first;
    for (; i + VW <= end; i += VW) parts += term(i, vec{});
    for (int v = 0; v < VW; v++) total += parts[v];
    for (; i < end; i++) total += term(i, 0.f);
  }
  return total;
}

double sum(const float *a, int n) {
  return sum_terms(n, [=](int i, auto type) { return read(a + i, type); });
}

double dot(const float *a, const float *b, int n) {
  return sum_terms(n, [=](int i, auto type) { return read(a + i, type) * read(b + i, type); });
}

double squared_deviation(const float *a, int n, float mean) {
  return sum_terms(n, [=](int i, auto type) {
    const auto deviation = read(a + i, type) - mean;
    return deviation * deviation;
  });
}

// Copy y plus its bias, padded in time with what the branch reads beyond both ends.
void pad(const Channel &channel, const float *y, float *padded) {
  const Layer &layer = channel.layer;
  const int positions = layer.positions, beyond = layer.margin * positions;
  const int n = layer.timesteps * positions;
  const float bias = layer.bias[channel.index];
  float *own = padded + beyond;
  std::fill(padded, own, 0.f);
  for (int i = 0; i < n; i++) own[i] = y[i] + bias;
  std::fill(own + n, own + n + beyond, 0.f);
  if (channel.branch == 4 && layer.pool_offset > 0)
    std::copy(own + n - positions, own + n, own + n);
  else if (channel.branch == 4)
    std::copy(own + positions, own + 2 * positions, own - positions);
}

template <int N>
void convolve(const float *own, const int *shifts, const float *weights, float bias, int n,
              float *__restrict z) {
  for (int i = 0; i < n; i++) {
    float total = bias;
    for (int j = 0; j < N; j++) total += weights[j] * own[i + shifts[j]];
    z[i] = total;
  }
}

// The sum of shifted products with N = 3, 5 or 7 taps.
void convolve(const float *own, const int *shifts, const float *weights, int n_taps, float bias,
              int n, float *z) {
  if (n_taps == 3)
    convolve<3>(own, shifts, weights, bias, n, z);
  else if (n_taps == 5)
    convolve<5>(own, shifts, weights, bias, n, z);
  else
    convolve<7>(own, shifts, weights, bias, n, z);
}

// Apply the channel's branch to one padded clip.
void branch_forward(const Channel &channel, const float *padded, float *__restrict z) {
  const Layer &layer = channel.layer;
  const int positions = layer.positions, n = layer.timesteps * positions;
  const float *own = padded + layer.margin * positions;
  if (const Temporal *conv = channel.temporal()) {
    int shifts[7];
    for (int j = 0; j < conv->n_taps; j++) shifts[j] = conv->taps[j] * positions;
    convolve(own, shifts, conv->weights + size_t(channel.in_branch) * conv->n_taps, conv->n_taps,
             conv->bias[channel.in_branch], n, z);
  } else if (channel.branch == 4) {
    const float *other = own + layer.pool_offset * positions;
    for (int i = 0; i < n; i++) z[i] = maximum(own[i], other[i]);
  } else {
    std::copy(own, own + n, z);
  }
}

// Scale and shift of the normalisation: u = z * scale + shift.
struct Affine {
  float inverse_deviation, scale, shift;
  Affine(const Norm &norm, int channel) {
    inverse_deviation = 1 / std::sqrt(norm.variance[channel] + norm.eps);
    scale = norm.weight[channel] * inverse_deviation;
    shift = norm.bias[channel] - norm.mean[channel] * scale;
  }
};

void forward_channel(const Channel &channel, const Norm &norm, const float *y, float *out,
                     int n_clips, const Scratch &scratch) {
  const Layer &layer = channel.layer;
  const int positions = layer.positions, n = layer.timesteps * positions;
  const int halved = layer.timesteps / 2, channels = 5 * layer.branch_channels * layer.n_groups;
  double total = 0, squares = 0;
  for (int clip = 0; clip < n_clips; clip++) {
    float *z = scratch.z + size_t(clip) * n;
    pad(channel, y + (size_t(clip) * channels + channel.index) * n, scratch.padded);
    branch_forward(channel, scratch.padded, z);
    if (norm.by_batch) total += sum(z, n);
  }
  if (norm.by_batch) {
    const double count = double(n) * n_clips;
    norm.mean[channel.index] = total / count;
    for (int clip = 0; clip < n_clips; clip++)
      squares += squared_deviation(scratch.z + size_t(clip) * n, n, norm.mean[channel.index]);
    norm.variance[channel.index] = squares / count;
  }
  const Affine affine(norm, channel.index);
  for (int clip = 0; clip < n_clips; clip++) {
    const float *z = scratch.z + size_t(clip) * n;
    float *target = out + (size_t(clip) * channels + channel.shuffled) * halved * positions;
    for (int pair = 0; pair < halved; pair++) {
      const float *a = z + size_t(2 * pair) * positions, *b = a + positions;
      float *__restrict row = target + size_t(pair) * positions;
      for (int s = 0; s < positions; s++)
        row[s] = relu(maximum(a[s] * affine.scale + affine.shift,
                              b[s] * affine.scale + affine.shift));
    }
  }
}

// Backward of pooling and ReLU: the gradient goes to the larger timestep if it is above zero.
void unpool(const Affine &affine, const float *z, const float *grad_out, int halved, int positions,
            float *__restrict g) {
  for (int pair = 0; pair < halved; pair++) {
    const float *a = z + size_t(2 * pair) * positions, *b = a + positions;
    const float *from = grad_out + size_t(pair) * positions;
    float *first = g + size_t(2 * pair) * positions, *__restrict second = first + positions;
    for (int s = 0; s < positions; s++) {
      const float u = a[s] * affine.scale + affine.shift, v = b[s] * affine.scale + affine.shift;
      first[s] = (u >= v) & (u > 0) ? from[s] : 0;
      second[s] = (v > u) & (v > 0) ? from[s] : 0;
    }
  }
}

// Backward of the branch: from the gradient of its result, padded with zeros, to those of y and of
// the kernel.
void branch_backward(const Channel &channel, const float *padded, const float *dz,
                     float *__restrict dy, double *d_weights, double *d_bias) {
  const Layer &layer = channel.layer;
  const int positions = layer.positions, n = layer.timesteps * positions;
  const int beyond = layer.margin * positions;
  const float *own = padded + beyond, *own_dz = dz + beyond;
  if (const Temporal *conv = channel.temporal()) {
    int shifts[7];
    for (int j = 0; j < conv->n_taps; j++) {
      shifts[j] = -conv->taps[j] * positions;
      d_weights[j] += dot(own_dz, own - shifts[j], n);
    }
    *d_bias += sum(own_dz, n);
    convolve(own_dz, shifts, conv->weights + size_t(channel.in_branch) * conv->n_taps,
             conv->n_taps, 0, n, dy);
  } else if (channel.branch == 4) {
    const int ahead = layer.pool_offset * positions;
    for (int i = 0; i < n; i++) {
      const float kept = own[i] >= own[i + ahead] ? own_dz[i] : 0;
      const float passed = own[i - ahead] < own[i] ? own_dz[i - ahead] : 0;
      dy[i] = kept + passed;
    }
    if (ahead < 0)  // the first step also looks at the second
      for (int s = 0; s < positions; s++)
        dy[positions + s] += own[s] >= own[s - positions] ? 0 : own_dz[s];
  } else {
    std::copy(own_dz, own_dz + n, dy);
  }
}

void backward_channel(const Channel &channel, const Norm &norm, const float *y,
                      const float *grad_out, const Gradients &gradients, int n_clips,
                      const Scratch &scratch) {
  const Layer &layer = channel.layer;
  const int positions = layer.positions, n = layer.timesteps * positions;
  const int halved = layer.timesteps / 2, channels = 5 * layer.branch_channels * layer.n_groups;
  const Affine affine(norm, channel.index);
  const float mean = norm.mean[channel.index];
  double sum_g = 0, sum_gz = 0;
  for (int clip = 0; clip < n_clips; clip++) {
    float *z = scratch.z + size_t(clip) * n, *g = scratch.g + size_t(clip) * n;
    pad(channel, y + (size_t(clip) * channels + channel.index) * n, scratch.padded);
    branch_forward(channel, scratch.padded, z);
    std::fill(g + size_t(2 * halved) * positions, g + n, 0.f);
    unpool(affine, z, grad_out + (size_t(clip) * channels + channel.shuffled) * halved * positions,
           halved, positions, g);
    for (int i = 0; i < n; i++) z[i] -= mean;
    sum_g += sum(g, n);
    sum_gz += dot(g, z, n);
  }
  gradients.norm_weight[channel.index] = sum_gz * affine.inverse_deviation;
  gradients.norm_bias[channel.index] = sum_g;

  const double count = double(n) * n_clips;
  const float inverse_variance = affine.inverse_deviation * affine.inverse_deviation;
  const float mean_g = norm.by_batch ? sum_g / count : 0;
  const float mean_gz = norm.by_batch ? sum_gz / count * inverse_variance : 0;
  double d_bias = 0, d_weights[7] = {}, d_temporal_bias = 0;
  float *dz = scratch.dz + layer.margin * positions;
  for (int clip = 0; clip < n_clips; clip++) {
    const size_t at = (size_t(clip) * channels + channel.index) * n;
    const float *z = scratch.z + size_t(clip) * n, *g = scratch.g + size_t(clip) * n;
    for (int i = 0; i < n; i++) dz[i] = affine.scale * (g[i] - mean_g - z[i] * mean_gz);
    pad(channel, y + at, scratch.padded);
    branch_backward(channel, scratch.padded, scratch.dz, gradients.y + at, d_weights,
                    &d_temporal_bias);
    d_bias += sum(gradients.y + at, n);
  }
  gradients.bias[channel.index] = d_bias;
  if (const Temporal *conv = channel.temporal()) {
    const int k = conv->n_taps;
    for (int j = 0; j < k; j++)
      gradients.temporal_weights[channel.branch - 1][channel.in_branch * k + j] = d_weights[j];
    gradients.temporal_bias[channel.branch - 1][channel.in_branch] = d_temporal_bias;
  }
}

// Run `work(channel, scratch)` for every channel; returns false if memory runs out.
template <typename Work>
bool for_channels(const Layer &layer, int n_clips, int n_threads, bool backward, Work work) {
  const size_t n = round_up(size_t(layer.timesteps) * layer.positions, 16);
  const size_t padded = round_up(n + 2 * size_t(layer.margin) * layer.positions, 16);
  const size_t all = n * n_clips, floats = padded + all + (backward ? all + padded : 0);
  bool failed = false;
#pragma omp parallel num_threads(n_threads) reduction(|| : failed)
  {
    float *memory = static_cast<float *>(calloc(floats, sizeof(float)));  // dz: zeros at its ends
    failed = memory == nullptr;
    const Scratch scratch{memory, memory + padded, memory + padded + all,
                          memory + padded + 2 * all};
#pragma omp for schedule(dynamic, 4)
    for (int index = 0; index < 5 * layer.branch_channels * layer.n_groups; index++)
      if (memory) work(Channel(layer, index), scratch);
    free(memory);
  }
  return !failed;
}

}  // namespace

EXPORT_SIZE(Norm)
EXPORT_SIZE(Gradients)

// y: N, C_out, T, S without its bias; out: N, C_out, T / 2, S, shuffled. Returns 0 if memory
// runs out.
EXPORT int timeception_epilogue(const Layer *layer, const Norm *norm, const float *y, float *out,
                           int n_clips, int n_threads) {
  return for_channels(*layer, n_clips, n_threads, false,
                      [&](const Channel &channel, const Scratch &scratch) {
                        forward_channel(channel, *norm, y, out, n_clips, scratch);
                      });
}

// The gradients of everything that timeception_epilogue reads, given the gradient of its result.
EXPORT int timeception_epilogue_backward(const Layer *layer, const Norm *norm, const float *y,
                                    const float *grad_out, const Gradients *gradients, int n_clips,
                                    int n_threads) {
  return for_channels(*layer, n_clips, n_threads, true,
                      [&](const Channel &channel, const Scratch &scratch) {
                        backward_channel(channel, *norm, y, grad_out, *gradients, n_clips, scratch);
                      });
}
