package state

// Restored is an entry that Restore makes, or adds to where it is there already.
type Restored struct {
	Recording string
	Edit      func(*Entry) // gets the entry, the zero Entry where there is none, and sets its State too
}

// Apply makes or adds to old, the entry as it is, nil where there is none.
func (r Restored) Apply(old *Entry) (*Entry, error) {
	e := &Entry{}
	if old != nil {
		*e = old.Clone()
	}
	r.Edit(e)
	if e.State.Stored() {
		e.Raw, e.Expanded = nil, false
	}
	return e, e.Check()
}
