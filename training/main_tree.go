package training

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/save"
)

// mainTree returns the name of the pytree for saves and resumes without Name: "state", or
// the only one; "" if none of the step's pytrees has a name. It does not choose one of
// several others, because a program would continue with one and leave out the rest.
func mainTree(ctx context.Context, ck *orbax.Checkpoint) (string, error) {
	names, err := ck.PyTrees(ctx)
	switch {
	case err != nil || len(names) == 0:
		return "", err
	case slices.Contains(names, layout.DefaultName):
		return layout.DefaultName, nil
	case len(names) == 1:
		return names[0], nil
	}
	return "", fmt.Errorf("%w: the step has the pytrees %s, and none called %q; give orbax.Name, the same to resumes and saves, or read and save them together as checkpointables",
		fault.ErrStructure, fault.List(names), layout.DefaultName)
}

// follow returns options that give a pytree the name that it has in the run. A Name among
// them takes precedence.
func (c *Checkpointer) follow(ctx context.Context, o *operation, options []orbax.SaveOption) ([]orbax.SaveOption, error) {
	named := save.NewConfig(options).Named
	name, err := lead(ctx, o, "name", nil, func() (string, error) {
		if named {
			return "", nil
		}
		return c.nameInRun(ctx)
	})
	if err == nil && name != "" && !named {
		options = append([]orbax.SaveOption{orbax.Name(name)}, options...)
	}
	return options, err
}

// nameInRun returns the name of the pytree in the run, or "" if it has the usual one.
func (c *Checkpointer) nameInRun(ctx context.Context) (string, error) {
	newest := c.newestSound()
	if newest.Path == "" && c.mirror != nil {
		return c.treeOf(c.mirror.tree, c.mirror.treeErr, c.mirror.root.name)
	}
	if newest.Path == "" {
		return "", nil
	}
	// The usual name is known without opening the step.
	if at, err := c.root.locate(ctx, newest); err == nil {
		if info, err := at.Join(layout.DefaultName).Stat(ctx); err == nil && info.Dir {
			return "", nil
		}
	}
	name, err := opened(ctx, newest.Path, c.root.open, mainTree)
	return c.treeOf(name, err, newest.Path)
}

// treeOf returns the results of mainTree for the step, or the newest of the steps, at path.
func (c *Checkpointer) treeOf(name string, err error, path string) (string, error) {
	switch {
	case errors.Is(err, orbax.ErrStructure):
		return "", c.root.called(err)
	case err != nil: // not a reason to lose the step that is being saved
		c.log.Warn("it is not known what the pytree of the newest step is called; this one is called state", "path", path, "error", err)
		return "", nil
	}
	return name, nil
}
