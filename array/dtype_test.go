package array_test

import (
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
)

// TestClasses compares the class of every dtype with its name.
func TestClasses(t *testing.T) {
	n := 0
	for d := array.DType(0); d.Size() > 0 || d == array.Invalid; d++ {
		name := d.String()
		n++
		if want := strings.Contains(name, "float"); d.IsFloat() != want {
			t.Errorf("IsFloat of %s is %v", name, !want)
		}
		if want := strings.Contains(name, "int"); d.IsInteger() != want {
			t.Errorf("IsInteger of %s is %v", name, !want)
		}
		if want := strings.HasPrefix(name, "complex"); d.IsComplex() != want {
			t.Errorf("IsComplex of %s is %v", name, !want)
		}
	}
	if n < 25 {
		t.Errorf("%d dtypes", n)
	}
}
