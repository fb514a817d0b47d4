package main

import "context"

// Contenders take turns on one store, so what serves it is kept in the bench
// and begun anew where a row wants it cold.

// remount mounts a store afresh: nothing of it is in the mount's caches.
func (b *bench) remount(ctx context.Context, store string, options ...string) error {
	if err := b.unmount(ctx); err != nil {
		return err
	}
	var err error
	b.daemon, err = b.mount(ctx, store, options...)
	return err
}

// remounting is remount, for later.
func (b *bench) remounting(store string) func(context.Context) error {
	return func(ctx context.Context) error { return b.remount(ctx, store) }
}

func (b *bench) unmount(ctx context.Context) error {
	d := b.daemon
	b.daemon = nil
	if d == nil {
		return nil
	}
	return d.unmount(ctx)
}

// restock starts the stock registry afresh on a store.
func (b *bench) restock(ctx context.Context, store string) error {
	b.unstock()
	var err error
	b.stock, err = b.serve(ctx, store)
	return err
}

// restocking is restock, for later.
func (b *bench) restocking(store string) func(context.Context) error {
	return func(ctx context.Context) error { return b.restock(ctx, store) }
}

func (b *bench) unstock() {
	if b.stock != nil {
		b.stock.stop()
	}
	b.stock = nil
}

// rest ends what serves a store.
func (b *bench) rest(ctx context.Context) error {
	b.unstock()
	return b.unmount(ctx)
}
