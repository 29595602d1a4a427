package failure

// Told is an error that another process met and told. KindOf knows its kind.
type Told struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
}

// Tell returns err as another process can read it; nil for nil.
func Tell(err error) *Told {
	if err == nil {
		return nil
	}
	return &Told{KindOf(err), err.Error()}
}

// Err returns what was told as an error; nil for nil.
func (t *Told) Err() error {
	if t == nil {
		return nil
	}
	return t
}

func (t *Told) Error() string { return t.Text }
