package training

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// preemption is whether the program is about to be ended.
type preemption struct {
	notice  <-chan struct{} // of the user
	signals chan os.Signal  // or of the system

	mu      sync.Mutex
	reached bool
	told    bool // the program knows
	served  bool // a save has begun since it was reached, and told if it was
}

// newPreemption listens for what tells of it, if the policy looks for that.
func newPreemption(o *Options) *preemption {
	p := &preemption{notice: o.Preempted}
	if p.notice == nil && looksForPreemption(o.SaveDecision) {
		p.signals = make(chan os.Signal, 1)
		signal.Notify(p.signals, syscall.SIGTERM)
	}
	return p
}

func looksForPreemption(policy SaveDecisionPolicy) bool {
	switch policy := policy.(type) {
	case PreemptionCheckpointingPolicy, *PreemptionCheckpointingPolicy:
		return true
	case AnySavePolicy:
		for _, part := range policy {
			if looksForPreemption(part) {
				return true
			}
		}
	}
	return false
}

// look reports whether the notice has come, and whether a save that answers it is
// still to be made.
func (p *preemption) look() (reached, unserved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reached {
		select {
		case <-p.notice:
			p.reached = true
		case <-p.signals:
			p.reached = true
			signal.Stop(p.signals)
		default:
		}
	}
	return p.reached, p.reached && !p.served
}

// tell reports whether the notice has come, to the program: a save that it makes
// afterwards answers the notice too, whatever was saved before.
func (p *preemption) tell() bool {
	reached, _ := p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	if reached && !p.told {
		p.told, p.served = true, false
	}
	return reached
}

// serve is told that a save begins.
func (p *preemption) serve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = p.reached
}

// missed is told that the save has failed.
func (p *preemption) missed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = false
}

func (p *preemption) stop() {
	if p.signals != nil {
		signal.Stop(p.signals)
	}
}
