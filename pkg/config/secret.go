package config

import (
	"fmt"
	"log/slog"
)

// Secret is a password. Whatever prints, logs or marshals it shows a mask of fixed length, also for an empty one;
// only Reveal and Bytes give it away. (fmt does not call methods on unexported struct fields: keep a Secret in exported
// fields or variables.)
type Secret string

const mask = "******"

// Reveal returns the password, for the one call that logs in with it.
func (s Secret) Reveal() string { return string(s) }

// Bytes returns the secret as a key; nil where it is empty.
func (s Secret) Bytes() []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// String returns the mask.
func (Secret) String() string { return mask }

// GoString returns the mask.
func (Secret) GoString() string { return mask }

// Format writes the mask, whatever the verb and flags.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(mask)) }

// MarshalText returns the mask; encoding/json and encoding/xml use it.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// LogValue returns the mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }
