package main

import "math"

const (
	batchSize    = 32
	learningRate = 3e-3
	decayMu      = 0.9
	decayNu      = 0.999
	epsilon      = 1e-8
)

// trainer trains a state, step by step. With the same state and position in the data it
// computes the same, to the last bit.
type trainer struct {
	state  *State
	data   *Batches
	net    *network
	mu, nu [][]float32
}

// newTrainer returns a trainer that works in the memory of state.
func newTrainer(state *State, data *Batches) (*trainer, error) {
	net, err := newNetwork(state.Params)
	if err != nil {
		return nil, err
	}
	mu, err := tensors(state.Adam.Mu)
	if err != nil {
		return nil, err
	}
	nu, err := tensors(state.Adam.Nu)
	if err != nil {
		return nil, err
	}
	return &trainer{state: state, data: data, net: net, mu: mu, nu: nu}, nil
}

// step learns from one batch and returns the mean loss on it.
func (t *trainer) step() float64 {
	for _, g := range t.net.grads {
		clear(g)
	}
	var loss float64
	for _, i := range t.data.take(batchSize) {
		t.net.forward(t.data.pixels[i*pixels : (i+1)*pixels])
		loss += t.net.backward(t.data.labels[i])
	}
	t.state.Step++
	t.adam()
	return loss / batchSize
}

// adam moves the parameters along the gradients.
func (t *trainer) adam() {
	step := float64(t.state.Step)
	rate := float32(learningRate * math.Sqrt(1-math.Pow(decayNu, step)) / (1 - math.Pow(decayMu, step)))
	for k, params := range t.net.params {
		mu, nu := t.mu[k], t.nu[k]
		for i, g := range t.net.grads[k] {
			g /= batchSize
			mu[i] = decayMu*mu[i] + (1-decayMu)*g
			nu[i] = decayNu*nu[i] + (1-decayNu)*g*g
			params[i] -= rate * mu[i] / (float32(math.Sqrt(float64(nu[i]))) + epsilon)
		}
	}
}
