// Package cli is the command line of orbax: its verbs, flags, help, exit statuses and
// hints. [Run] executes a command line in any program; cmd/orbax is a main around it.
package cli
