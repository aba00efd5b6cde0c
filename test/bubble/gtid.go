package bubble

import "context"

// Applied is what has been executed of others, where GTIDs tell.
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

// Lacks is what of another server's Applied this one does not have.
func (c connection) Lacks(ctx context.Context, applied string) (string, error) {
	return c.without(ctx, applied, func(txn) bool { return true })
}

// Lost is what of another server's Applied was committed here and is here no more.
func (c connection) Lost(ctx context.Context, applied string) (string, error) {
	return c.without(ctx, applied, func(t txn) bool { return t.origin == c.s.id })
}

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
