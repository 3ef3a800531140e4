# What `cargo xtask demo` plays: a project from its first start to its last stop, each command above its real answer.

# Prints a command as it stands here, then what it answers.
def play [command: closure] {
    let source = view source $command | str trim --left --char '{' | str trim --right --char '}' | str trim
    print $"(ansi green_bold)> ($source)(ansi reset)"
    let width = if (is-terminal --stdout) { (term size).columns } else { 120 }
    print $"(do $command | table --width $width | str trim --right)\n"
}

play { service order web-app | update dependencies { str join " " } }
play { service start web-app }
play { service status }
play { service status | where memory > 1mb | sort-by memory --reverse | select name memory uptime }
play { service health | reject endpoint }
play { http get http://127.0.0.1:18103/ }
play { service logs web-app --tail 3 }
play { service stop --all }
play { service daemon stop }
