package mysqlctl

import (
	"context"
	"fmt"
	"unicode/utf8"
)

// limits is how long the parts of a source may be, as tried on MySQL 9.7 and MariaDB 10.11. MySQL would also take a
// longer user, but can have no account of such a name.
type limits struct {
	maker    string
	password int // bytes
	user     int // characters
	host     int // bytes
}

func (f flavour) limits() limits {
	if f.dialect == mariaDB {
		return limits{maker: "MariaDB", password: 96, user: 128, host: 255}
	}
	return limits{maker: "MySQL", password: 32, user: 32, host: 255}
}

// refuses says why the server would not replicate from src, or nil. It never shows the password.
func (l limits) refuses(src Source) error {
	for _, c := range []struct {
		what       string
		has, takes int
		of         string
	}{
		{"the replication user's password (replication_password)", len(src.Password), l.password, "bytes"},
		{"the name of the replication user (replication_user)", utf8.RuneCountInString(src.User), l.user, "characters"},
		{"the name of the source", len(src.Host), l.host, "bytes"},
	} {
		if c.has > c.takes {
			return fmt.Errorf("%s has %d %s, and %s takes at most %d (%w): choose a shorter one",
				c.what, c.has, c.of, l.maker, c.takes, ErrLimit)
		}
	}
	if src.Port < 1 || src.Port > 65535 {
		return fmt.Errorf("the source's port is %d: it must be from 1 to 65535 (%w)", src.Port, ErrLimit)
	}
	return nil
}

// CheckSource returns why the server would refuse to replicate from src (ErrLimit, or that it does not answer), as far
// as that can be told without trying; else nil.
func (s *Server) CheckSource(ctx context.Context, src Source) error {
	var l limits
	_, err := s.ask(ctx, func(f flavour) statement { l = f.limits(); return f.ping() })
	if err != nil {
		return err
	}
	return l.refuses(src)
}
