# What people run who feed a goal by damo: SOURCE COMMAND..., once a second, where the number is new.
source=$1
shift
last=
while true; do
    read -r now < "$source"
    if [ "$now" != "$last" ]; then
        "$@" --damos_quota_goal user_input 10000 "$now" > /dev/null || exit
        last=$now
    fi
    sleep 1
done
