package bubble

import "context"

// Applied is the set of transactions of other servers that this one has executed; "" where replication is by position.
func (c connection) Applied(ctx context.Context) (string, error) {
	if err := c.query(ctx); err != nil {
		return "", err
	}
	defer c.unlock()
	if c.s.h.w.dialect == positions {
		return "", nil
	}
	others := set{}
	for origin, numbers := range c.s.done {
		if origin != c.s.id {
			others[origin] = numbers
		}
	}
	return others.String(), nil
}

// Lacks is the part of another server's Applied that this server does not have.
func (c connection) Lacks(ctx context.Context, applied string) (string, error) {
	return c.without(ctx, applied, func(txn) bool { return true })
}

// Lost is the part of another server's Applied that was first committed on this server, which does not have it any
// more.
func (c connection) Lost(ctx context.Context, applied string) (string, error) {
	return c.without(ctx, applied, func(t txn) bool { return t.origin == c.s.id })
}

// without is the part of applied that counts and that this server does not have.
func (c connection) without(ctx context.Context, applied string, counts func(txn) bool) (string, error) {
	if err := c.query(ctx); err != nil {
		return "", err
	}
	defer c.unlock()
	missing := set{}
	for _, t := range parseSet(applied) {
		if counts(t) && !c.s.done.has(t) {
			missing.add(t)
		}
	}
	return missing.String(), nil
}
