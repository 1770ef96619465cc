package sharding_test

import (
	"fmt"

	"github.com/go-orbax/orbax/sharding"
)

func ExampleSharding_ShardShape() {
	s := sharding.Named(
		sharding.Mesh{Shape: []int{4, 2}, AxisNames: []string{"data", "model"}},
		sharding.PartitionSpec{{"data"}, nil, {"model"}},
	)
	shard, err := s.ShardShape([]int{128, 3, 64})
	fmt.Println(s)
	fmt.Println(shard, err)
	// Output:
	// NamedSharding(mesh=Mesh('data': 4, 'model': 2), spec=P('data', None, 'model'))
	// [32 3 32] <nil>
}

func ExampleMarshalFile() {
	doc, err := sharding.MarshalFile(map[string]*sharding.Sharding{"params.w": sharding.SingleDevice("cpu:0")})
	fmt.Printf("%s %v\n", doc, err)
	// Output:
	// {"cGFyYW1zLnc=":"{\"sharding_type\": \"SingleDeviceSharding\", \"device_str\": \"cpu:0\"}"} <nil>
}

// A mesh of two by two devices splits the rows of an array, and holds each half twice.
func ExampleSharding_Pieces() {
	mesh := sharding.Mesh{Shape: []int{2, 2}, AxisNames: []string{"data", "model"}, DeviceIDs: []int{0, 1, 2048, 2049}}
	pieces, err := sharding.Named(mesh, sharding.PartitionSpec{{"data"}}).Pieces([]int{8, 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	for place := range pieces.Places() {
		box := pieces.Box(place)
		fmt.Println("device", pieces.Device(place), "has", box.Size, "from", box.Offset, "replica", pieces.Replica(place))
	}
	// Output:
	// device 0 has [4 3] from [0 0] replica 0
	// device 1 has [4 3] from [0 0] replica 1
	// device 2048 has [4 3] from [4 0] replica 0
	// device 2049 has [4 3] from [4 0] replica 1
}
