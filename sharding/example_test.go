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
