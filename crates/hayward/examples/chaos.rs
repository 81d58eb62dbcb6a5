//! The server that misbehaves, as a program that the binary starts in its tests.

fn main() -> anyhow::Result<()> {
    hayward_testkit::chaos::run(std::env::args().skip(1))
}
