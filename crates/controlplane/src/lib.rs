//! Management of everything: REST in front, the store behind.
