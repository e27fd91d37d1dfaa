#!/bin/sh
# The producer of docker-compose.yml: any client that can publish will do, here curl and RabbitMQ's HTTP API. A trickle that
# the quota can bear, and every ten minutes a minute of more than that; some ids can't be released, a few bodies are no job.
# JOBS bounds it and PAUSE hurries it, for tests; without JOBS there is no end.
set -eu

exchange="${RABBITMQ_API:?}/exchanges/${RABBITMQ_VHOST:-%2F}/release.jobs/publish"

# One job: its number decides what it asks for, so that nothing here needs randomness.
job() {
    case $(($1 % 6)) in
        0 | 1) group='"ProductCode":"ecs","SubscriptionType":"PayAsYouGo"' ;;
        2) group='"ProductCode":"ecs","SubscriptionType":"Subscription","Region":"cn-hangzhou"' ;;
        3) group='"ProductCode":"rds","SubscriptionType":"PayAsYouGo"' ;;
        4) group='"ProductCode":"slb","SubscriptionType":"PayAsYouGo"' ;;
        5) group='"ProductCode":"kvstore","SubscriptionType":"Subscription"' ;;
    esac
    ids=i-$start-$1-0
    index=$(($1 * 7919 % 50))
    while [ $index -gt 0 ]; do
        ids=$ids,i-$start-$1-$index
        index=$((index - 1))
    done
    case $(($1 % 60)) in
        17) ids=$ids,i-gone-$start-$1 ;;
        37) ids=$ids,i-locked-$start-$1 ;;
        57) ids=$ids,i-foreign-$start-$1 ;;
    esac
    if [ $(($1 % 500)) -eq 50 ]; then group='"Product":"ecs"'; fi
    echo "{$group,\"InstanceIds\":\"$ids\"}"
}

# RabbitMQ answers that it took the message, and whether a queue did.
publish() {
    properties="{\"message_id\":\"producer-$start-$1\",\"timestamp\":$(date +%s),\"delivery_mode\":2,\"content_type\":\"application/json\"}"
    payload=$(job "$1" | sed 's/"/\\"/g')
    curl --silent --show-error --fail --max-time 10 --user "${RABBITMQ_USER:?}:${RABBITMQ_PASSWORD:?}" --output /dev/null \
        --json "{\"properties\":$properties,\"routing_key\":\"\",\"payload\":\"$payload\",\"payload_encoding\":\"string\"}" "$exchange"
}

start=$(date +%s)
number=0
while [ "$number" -lt "${JOBS:-999999999}" ]; do
    if publish "$number"; then
        number=$((number + 1))
        touch "${ALIVE:-/dev/null}"
        if [ $(($(date +%s) % 600)) -ge 60 ]; then sleep "${PAUSE:-0.25}"; fi
    else
        sleep 2 # RabbitMQ is away or full: the same job again
    fi
done
