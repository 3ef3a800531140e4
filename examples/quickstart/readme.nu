# What `cargo xtask readme` plays: the five commands of the README, each above its real answer, without colour.

$env.config.use_ansi_coloring = false

# Prints a command as it stands here, then what it answers.
def play [command: closure] {
    let source = view source $command | str trim --left --char '{' | str trim --right --char '}' | str trim
    print $"> ($source)\n(do $command | table --width 100 | str trim --right)\n"
}

play { service start web-app }
play { service status }
play { service status | where memory > 1mb and restarts == 0 | get name }
# Its first lines are there the moment after.
while (service logs web-app | length) < 2 { sleep 10ms }
play { service logs web-app | first 2 }
play { service stop database }
service daemon stop | ignore
