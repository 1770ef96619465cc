package training

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// preemption records whether the program is about to be ended.
type preemption struct {
	notice <-chan struct{} // from the program
	stop   func()          // stops listening to the system

	mu      sync.Mutex
	reached bool
	// In a group reached is the value on which the processes have agreed, and ownReached says that the
	// notice has come to this process.
	group      bool
	ownReached bool
	reported   bool // Preempted has returned true
	served     bool // a save has begun since reached, and if reported is set, since reported
}

// newPreemption starts to listen for the notice, if the policy needs it.
func newPreemption(o *Options) *preemption {
	p := &preemption{notice: o.Preempted, stop: func() {}, group: o.group() != nil}
	if p.notice == nil && looksForPreemption(o.SaveDecision) {
		p.listen()
	}
	return p
}

// oneNotice is how long further SIGTERMs count as the first one. A supervisor may send it
// to the process and to the group of the process.
const oneNotice = time.Second

// listen takes SIGTERM as the notice. A later one ends the process, even if the program
// never asks for the notice.
func (p *preemption) listen() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	closed := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		defer signal.Stop(signals)
		select {
		case <-closed:
			return
		case <-signals:
		}
		p.come()
		select {
		case <-closed:
		case <-time.After(oneNotice):
		}
	})
	p.stop = sync.OnceFunc(func() {
		close(closed)
		listening.Wait()
	})
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

// come records that the notice has come to this process.
func (p *preemption) come() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ownReached = true
	p.reached = p.reached || !p.group
}

// own reports whether the notice has come to this process.
func (p *preemption) own() bool {
	if p == nil { // the Checkpointer is being opened
		return false
	}
	select {
	case <-p.notice:
		p.come()
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ownReached
}

// agree records whether the notice has come to a process of the group.
func (p *preemption) agree(reached bool) {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.reached = p.reached || reached
	}
}

// look reports whether the notice has come, and whether a save for it still has to be
// made.
func (p *preemption) look() (reached, unserved bool) {
	p.own()
	p.mu.Lock()
	defer p.mu.Unlock()
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
