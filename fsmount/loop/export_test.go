package loop

// MaxWaiting is for the tests over a mount.
const MaxWaiting = maxWaiting
