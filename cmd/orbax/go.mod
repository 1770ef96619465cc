module github.com/go-orbax/orbax/cmd/orbax

go 1.26.0

require github.com/go-orbax/orbax v0.0.0

replace github.com/go-orbax/orbax => ../..
