package cluster

import (
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// TestNewOrders: whatever of a state orders are made of, a change of it gives them a new number: with an old one nobody
// is told. Each field of a host is changed by itself, beside a former writer whose log nobody has looked at.
func TestNewOrders(t *testing.T) {
	topology := lab()
	topology.Lease = Lease(3 * time.Second)
	base := func() State {
		s := State{Mode: Active, Hosts: map[string]HostInfo{}, LastWriter: "db2", Successors: "db1,db2",
			Epoch:  Epoch{Number: 3, Holder: "db2", Since: 3, Terms: topology.terms()},
			Switch: Switch{From: "db1", To: "db2"}}
		for _, h := range topology.Hosts {
			s.Hosts[h.Name] = HostInfo{State: Online, AgentUp: true}
		}
		h := s.Hosts["db1"]
		h.Audit = Audit{At: "db1-bin.000001:4"}
		s.Hosts["db1"] = h
		s.Addresses = []Address{{RoleIP: topology.roleIPs()[3], Holder: "db2"}}
		return s
	}
	before := base()
	if before.Addresses[0].Role != "writer" || len(Orders(topology, before)) != 3 {
		t.Fatalf("not a cluster with a writer: %+v", Orders(topology, before))
	}
	tell := 0
	host := reflect.TypeFor[HostInfo]()
	for i := range host.NumField() {
		for _, name := range []string{"db1", "db2", "db3"} {
			after := base()
			h := after.Hosts[name]
			field := reflect.ValueOf(&h).Elem().Field(i)
			field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem() // unexported ones too
			if !change(field) {
				t.Fatalf("%s can't be changed: teach this test its kind", host.Field(i).Name)
			}
			after.Hosts[name] = h
			if slices.EqualFunc(Orders(topology, before), Orders(topology, after), Order.Equal) {
				continue
			}
			tell++
			if !mayOrder(before, after) {
				t.Errorf("%s of %s changes orders, and nobody is told", host.Field(i).Name, name)
			}
		}
	}
	if tell < 5 {
		t.Errorf("%d changes alone change orders", tell)
	}
}

// TestOrderEqual: whatever of an order differs, the orders are not the same, but for what numbers and dates them.
func TestOrderEqual(t *testing.T) {
	before := Order{Host: "db1", State: Online, Extended: true}
	var same []string
	var check func(v reflect.Value, name string, o *Order)
	check = func(v reflect.Value, name string, o *Order) {
		for i := range v.NumField() {
			field, name := v.Field(i), name+v.Type().Field(i).Name
			if field.Kind() == reflect.Struct {
				check(field, name+".", o)
				continue
			}
			if !change(field) {
				t.Fatalf("%s can't be changed: teach change its kind", name)
			}
			if before.Equal(*o) {
				same = append(same, name)
			}
			*o = before
		}
	}
	after := before
	check(reflect.ValueOf(&after).Elem(), "", &after)
	if want := []string{"Extended", "Seq", "Echo.Boot", "Echo.At"}; !slices.Equal(same, want) {
		t.Errorf("orders that differ in %v are equal, want only %v", same, want)
	}
}

// change gives v another value: of a struct, its first field that has one.
func change(v reflect.Value) bool {
	v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Struct:
		for i := range v.NumField() {
			change(v.Field(i))
		}
	default:
		return false
	}
	return true
}
