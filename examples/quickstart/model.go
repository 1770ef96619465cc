package main

import (
	"math"
	"math/rand/v2"

	"github.com/go-orbax/orbax/array"
)

// State is everything that the next step depends on, except the data. In the checkpoint
// it is a dict with the names in the tags: the kernel of the first layer is the leaf
// "params.0.kernel".
type State struct {
	Step   int     `orbax:"step"`
	Params []Dense `orbax:"params"`
	Adam   Moments `orbax:"adam"`
}

// Dense is a layer: x·Kernel + Bias.
type Dense struct {
	Kernel *array.Array `orbax:"kernel"` // float32[inputs outputs]
	Bias   []float32    `orbax:"bias"`
}

// Moments are Adam's running means of the gradients and of their squares.
type Moments struct {
	Mu []Dense `orbax:"mu"`
	Nu []Dense `orbax:"nu"`
}

// sizes are the widths of the layers.
var sizes = []int{pixels, 96, classes}

func newLayers() []Dense {
	var layers []Dense
	for l, in := range sizes[:len(sizes)-1] {
		out := sizes[l+1]
		layers = append(layers, Dense{
			Kernel: array.Of(make([]float32, in*out), in, out),
			Bias:   make([]float32, out),
		})
	}
	return layers
}

// newState returns the state before the first step.
func newState(seed uint64) (*State, error) {
	s := &State{
		Params: newLayers(),
		Adam:   Moments{Mu: newLayers(), Nu: newLayers()},
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	for l, d := range s.Params {
		kernel, err := array.Values[float32](d.Kernel)
		if err != nil {
			return nil, err
		}
		scale := math.Sqrt(2 / float64(sizes[l]))
		for i := range kernel {
			kernel[i] = float32(rng.NormFloat64() * scale)
		}
	}
	return s, nil
}

// tensors returns the memory of the layers: kernel, bias, kernel, bias, …
func tensors(layers []Dense) ([][]float32, error) {
	var all [][]float32
	for _, d := range layers {
		kernel, err := array.Values[float32](d.Kernel)
		if err != nil {
			return nil, err
		}
		all = append(all, kernel, d.Bias)
	}
	return all, nil
}

// network computes with parameters, and keeps the values that the gradients need.
type network struct {
	params, grads [][]float32
	acts          [][]float32 // acts[0] is an image, acts[l+1] the output of layer l
	deltas        [][]float32 // gradients of the loss by acts
}

func newNetwork(layers []Dense) (*network, error) {
	params, err := tensors(layers)
	if err != nil {
		return nil, err
	}
	n := &network{params: params}
	for _, p := range params {
		n.grads = append(n.grads, make([]float32, len(p)))
	}
	for _, size := range sizes {
		n.acts = append(n.acts, make([]float32, size))
		n.deltas = append(n.deltas, make([]float32, size))
	}
	return n, nil
}

// forward returns the scores of the classes.
func (n *network) forward(image []float32) []float32 {
	copy(n.acts[0], image)
	for l := range len(sizes) - 1 {
		kernel, bias := n.params[2*l], n.params[2*l+1]
		in, out := n.acts[l], n.acts[l+1]
		copy(out, bias)
		for i, x := range in {
			if x == 0 {
				continue
			}
			for j, w := range kernel[i*len(out) : (i+1)*len(out)] {
				out[j] += x * w
			}
		}
		if l < len(sizes)-2 {
			for j, v := range out {
				out[j] = max(v, 0)
			}
		}
	}
	return n.acts[len(sizes)-1]
}

// backward adds the gradients for the image that went forward last, and returns
// its loss.
func (n *network) backward(label uint8) float64 {
	last := len(sizes) - 1
	loss := softmax(n.deltas[last], n.acts[last], label)
	for l := last - 1; l >= 0; l-- {
		kernel, gradK, gradB := n.params[2*l], n.grads[2*l], n.grads[2*l+1]
		in, deltaIn, deltaOut := n.acts[l], n.deltas[l], n.deltas[l+1]
		for j, d := range deltaOut {
			gradB[j] += d
		}
		for i, x := range in {
			deltaIn[i] = 0
			if x == 0 {
				continue // where the gradient of max(0, x) is 0 too
			}
			row, gradRow := kernel[i*len(deltaOut):], gradK[i*len(deltaOut):]
			var sum float32
			for j, d := range deltaOut {
				gradRow[j] += x * d
				sum += row[j] * d
			}
			deltaIn[i] = sum
		}
	}
	return loss
}

// softmax returns the cross entropy of scores, and in delta its gradient.
func softmax(delta, scores []float32, label uint8) float64 {
	top := scores[0]
	for _, s := range scores {
		top = max(top, s)
	}
	var sum float64
	for _, s := range scores {
		sum += math.Exp(float64(s - top))
	}
	for j, s := range scores {
		delta[j] = float32(math.Exp(float64(s-top)) / sum)
	}
	delta[label]--
	return math.Log(sum) - float64(scores[label]-top)
}

// accuracy returns the fraction of the images that the network classifies correctly.
func (n *network) accuracy(im images) float64 {
	right := 0
	for i, label := range im.labels {
		best := 0
		scores := n.forward(im.pixels[i*pixels : (i+1)*pixels])
		for j, s := range scores {
			if s > scores[best] {
				best = j
			}
		}
		if best == int(label) {
			right++
		}
	}
	return float64(right) / float64(len(im.labels))
}
