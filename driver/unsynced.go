package driver

// Unsyncer is implemented by drivers that need not wait until what they did is
// durable.
type Unsyncer interface {
	// Unsynced returns a driver of the same store. What its methods did may be
	// lost in a crash of the machine, though not torn, unless [Sync] has made
	// it durable since.
	Unsynced() Driver
}

// Unsynced returns a driver of d's store that makes durable less than d, or d
// itself. It is for what nobody has been promised yet.
func Unsynced(d Driver) Driver {
	if u, ok := d.(Unsyncer); ok {
		return u.Unsynced()
	}
	return d
}
