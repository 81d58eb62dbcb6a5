//! What stands before the tables of `docs/reliability.md`.

/// The head of the page.
pub(super) const HEAD: &str = "\
# Reliability

<!-- Written by `cargo xtask torture`; edit `xtask/src/torture/head.rs`. -->

What was done to the release binary, newest first, and what had to hold afterwards. Repeat it with:

```
cargo xtask torture
```

It needs root (to mount and to trace), and takes half an hour. A short form runs with every test (`crates/hayward/tests/torture.rs`),
a longer one in `cargo xtask ci --full`.

Clients send a mix of calls: commands that append their own number to a file, at once, late, or under an idempotency key; files written,
changed, read; commands that fail; what the token may not do; tokens of nobody's; tokens made and revoked. After every fault the daemon is
started again, asked, and ended, and then, with `hayward audit verify` and from the lines of the record alone:

- whatever shows in the world has its intent in the record, with everything that was answered its outcome;
- every intent has exactly one outcome (`unknown` if it was cut off), no number is missing, `verify` finds nothing;
- what was answered as done is there, what was refused is not, nothing is there twice or in half;
- a token that was made works, one that was revoked doesn't; what was sent under a key is sent again, and not done again;
- the daemon is ready within 2 s, and has not panicked.

How it is done:

- **Deaths**: SIGKILL as a thread of the daemon begins its N-th `write`, `pwrite64`, `fsync`, `rename`, `openat`, … (`strace`), from the first
  one of a start to the last one of an end; several in a row on one data directory, some on none at all. A place is a system call and the name of
  the file that it is on.
- **Power cuts**: the data directory lies on an ext4 of its own (a loop device), with four clients at once; `EXT4_IOC_SHUTDOWN` without a
  flush of its journal at an instant of chance, with the daemon stopped, so that it hears of no sync that ends behind the cut; the daemon is killed,
  the disk mounted again. What the file system has handed to the device
  survives; what a disk may lose of a cache of its own is not played. What must be there: a token made or revoked, a key that was used, always;
  a record as its durability promises (`process`: whatever was answered 100 ms before the cut; `strict`: whatever was answered).
- **Faults**: system calls of a running daemon fail (`strace`), as long as the fault lasts; the disk is really full; few files may be open; a
  cgroup leaves little memory; the wall clock jumps (`libfaketime`). Then the fault goes, and without a restart calls have to be served again within 5 s. A short write comes
  from the full disk, for an injected one would lie about what is written.
- **Servers that misbehave** (`crates/hayward/tests/soak_servers.rs`, `HAYWARD_TEST_SOAK_SECONDS`): six servers with three copies each, two hundred clients of both
  eras; servers are killed, frozen, flood and lie by a seed, and in the middle the daemon is killed and started again. Each call has exactly one outcome; afterwards no
  process, container, cgroup, descriptor or file is left, and memory is what it was when it was warm.
- **Escapes**: commands that fork, leave their session, ignore signals or bomb, under each profile and each way of holding them
  (`crates/exec/tests/escapes`): the time from their deadline until nothing of them is left.
";
