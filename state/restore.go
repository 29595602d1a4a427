package state

// Restored is an entry that Restore creates, or completes if it exists.
type Restored struct {
	Recording string
	Edit      func(*Entry) // gets the entry, the zero Entry if there is none, and also sets its State
}

// Apply returns the restored entry, made from old, the present entry; nil if there is none.
func (r Restored) Apply(old *Entry) (*Entry, error) {
	e := &Entry{}
	if old != nil {
		*e = old.Clone()
	}
	r.Edit(e)
	switch {
	case e.State.Stored():
		e.Raw, e.Expanded = nil, false
	case e.State.Disposed():
		e.forget()
	}
	return e, e.Check()
}
