#!/bin/bash
# A CI job: it starts its agent, and is gone.
echo "nightly-job.sh: starting the agent" >>job.log
/usr/bin/python3 agent.py "$@" >>job.log 2>&1
