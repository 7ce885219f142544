# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR disable=SC2034,SC2154
# What the scripts beside this file share: where things are, steps, and the table at the end.
#
# A step is one claim about the project ("the tests pass compiled on 3.13"). `expect` announces
# it, `step` runs the command that proves it, `report` fails unless every claim was proven: a
# step that was skipped, forgotten or never reached counts like one that failed.

ci=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$ci")
cache=${EVENLOOP_CI_CACHE:-$HOME/.cache/evenloop-ci}
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export PIP_ROOT_USER_ACTION=ignore

say() { printf '%s\n' "$*"; }

expect() { # expect NAME...: these claims must be proven before the end
  printf '%s\n' "$@" >>"$work/expected"
}

step() { # step NAME COMMAND...: run it, keep its output, record what became of it
  local name=$1 log began status seconds
  shift
  log=$work/logs/${name//[^A-Za-z0-9.]/_}.log
  began=$SECONDS
  status=ok
  ("$@") >"$log" 2>&1 </dev/null || status=FAILED
  seconds=$((SECONDS - began))
  printf '%s\t%s\t%s\t%s\n' "$name" "$status" "$seconds" "$(counts "$log")" >>"$work/results"
  { # in one piece, as two lanes speak at once
    say "--- $name: $status, $seconds s"
    if [[ $status == ok ]]; then
      closing "$log"
    else
      tail -n "${EVENLOOP_CI_LOG_LINES:-150}" "$log"
    fi
  } >"$log.said"
  flock "$work/results" cat "$log.said"
  [[ $status == ok ]]
}

# The closing lines of pytest ("== 3 passed, 1 skipped in 0.1s ==") and of the stdlib runner.
CLOSING='^(=+ )?(total: )?[0-9]+ (passed|failed|skipped|error|errors|deselected|xfailed|warnings?)\b.*'

closing() { grep -aE "$CLOSING" "$1" | tail -n 1 || true; }

counts() { # counts LOG: "passed failed skipped" of the closing line
  closing "$1" | awk '
    { gsub(/[,=:]/, " ")
      for (i = 2; i <= NF; i++) {
        if ($i == "passed") passed = $(i - 1)
        if ($i == "failed" || $i ~ /^errors?$/) failed += $(i - 1)
        if ($i == "skipped") skipped = $(i - 1)
      } }
    END { printf "%d %d %d", passed, failed, skipped }'
}

report() { # the table of claims, the total, and the verdict as exit status
  local name line status bad=0
  say
  say "What was proven"
  printf '%-52s %-8s %7s  %s\n' claim result seconds "passed failed skipped"
  sort -u "$work/expected" -o "$work/expected"
  while read -r name; do
    line=$(awk -F'\t' -v name="$name" '$1 == name' "$work/results" | tail -n 1)
    status=$(cut -f2 <<<"$line")
    [[ $status == ok ]] || bad=$((bad + 1))
    printf '%-52s %-8s %7s  %s\n' "$name" "${status:-MISSING}" "$(cut -f3 <<<"$line")" \
      "$(cut -f4 <<<"$line" | sed 's/^0 0 0$//')"
  done < <(cat "$work/expected")
  [[ ! -s $work/absent ]] || sed 's/^/absent: /' "$work/absent"
  say "$((SECONDS / 60)) min $((SECONDS % 60)) s in all, $bad claims unproven"
  awk -F'\t' '{ split($4, n, " "); p += n[1]; f += n[2]; s += n[3] }
    END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' "$work/results"
  ((bad == 0))
}

find_python() { # find_python 3.12: the newest such interpreter of this machine, or nothing
  local candidate
  for candidate in "$HOME/.pyenv/versions/$1".*/bin/python "${PYENV_ROOT:-/nowhere}/versions/$1".*/bin/python \
    "$(type -P "python$1" || true)" "$(type -P python3 || true)"; do
    [[ -x $candidate ]] || continue
    [[ $("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$1" ]] || continue
    "$candidate" -c 'import venv, ensurepip' 2>/dev/null || continue
    printf '%s\n' "$candidate"
    return
  done
}

fresh_clone() { # fresh_clone FOLDER: what is committed here, as a stranger would get it
  rm -rf "$1"
  git -c safe.directory='*' clone --quiet --no-hardlinks "$checkout" "$1"
}

failed_once_more() { # failed_once_more PYTHON [ARGUMENTS]: a busy machine can spoil a test that waits
  echo "--- what failed, once more"
  "$1" -m pytest -q --last-failed --last-failed-no-failures none "${@:2}"
}

fresh_venv() { # fresh_venv PYTHON FOLDER
  "$1" -m venv --clear "$2"
}

mode_is() { # mode_is PYTHON MODE: fail unless evenloop runs in that mode, all of it
  "$1" - "$2" <<'PYTHON'
import sys
import evenloop
from evenloop._mode import mode
now = mode()
print(evenloop.__version__, evenloop.__file__, *now[:2], sep="\n  ")
sys.exit(now.name != sys.argv[1])
PYTHON
}
