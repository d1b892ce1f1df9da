# Reads what the visitor says, a line for each counted visit: SECONDS NUMBER.
#
# Prints how many there were, the numbers before and after the longest time without one, that time in
# seconds, and how many counted visits the database has forgotten: after it went back from 9 to 8, it
# has forgotten both.
NR > 1 {
    silence = $1 - seconds
    if (NR == 2 || silence > longest) {
        longest = silence
        before = number
        after = $2
    }
    if ($2 <= number) {
        lost += number - $2 + 1
    }
}
{
    seconds = $1
    number = $2
}
END {
    if (NR > 1) {
        printf "%d %d %d %.2f %d\n", NR, before, after, longest, lost
    }
}
