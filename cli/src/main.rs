fn main() -> std::process::ExitCode {
    jobmeter::main()
}
