//! The agent as a program; see the library.

fn main() -> std::process::ExitCode {
    jobmeter_agent::main()
}
