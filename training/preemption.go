package training

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// preemption records whether the program is about to be ended.
type preemption struct {
	notice  <-chan struct{} // from the program
	signals chan os.Signal  // from the system

	mu       sync.Mutex
	reached  bool
	reported bool // Preempted has returned true
	served   bool // a save has begun since reached, and if reported is set, since reported
}

// newPreemption starts to listen for the notice, if the policy needs it.
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
	case PreemptionCheckpointingPolicy:
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

// look reports whether the notice has come, and whether a save for it still has to be
// made.
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

// noticed reports to the program whether the notice has come. If it has, the next save
// counts as a save for the notice, even if there was one before.
func (p *preemption) noticed() bool {
	reached, _ := p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	if reached && !p.reported {
		p.reported, p.served = true, false
	}
	return reached
}

// serve records that a save begins.
func (p *preemption) serve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = p.reached
}

// missed records that the save has failed.
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
