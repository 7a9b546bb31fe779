fn main() -> std::process::ExitCode {
    jobmeter_coordinator::main()
}
