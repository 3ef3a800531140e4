# The script of `cargo xtask readme`: the five commands of the README. Each is printed above its real output, without colour.

$env.config.use_ansi_coloring = false

# Prints the source of a command, and then its output.
def show [command: closure] {
    let source = view source $command | str trim --left --char '{' | str trim --right --char '}' | str trim
    print $"> ($source)\n(do $command | table --width 100 | str trim --right)\n"
}

show { service start web-app }
show { service status }
show { service status | where memory > 1mb and restarts == 0 | get name }
# The log has its first lines a moment after the start.
while (service logs web-app | length) < 2 { sleep 10ms }
show { service logs web-app | first 2 }
show { service stop database }
service daemon stop | ignore
