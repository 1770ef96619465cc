// Package training keeps the checkpoints of a training run.
package training
