/*
 * Makes, writes, closes and deletes files at full speed: burst DIRECTORY COUNT
 * Three events each for who watches create, close_write and delete. Prints the seconds that it took.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int count_of_arguments, char **arguments)
{
    if (count_of_arguments != 3 || chdir(arguments[1]) != 0) {
        perror("burst DIRECTORY COUNT");
        return 2;
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long number = 0, count = atol(arguments[2]); number < count; number++) {
        char name[16];
        snprintf(name, sizeof name, "f%07ld", number);
        int file = open(name, O_CREAT | O_WRONLY, 0644);
        if (file < 0 || write(file, "x", 1) != 1 || close(file) != 0 || unlink(name) != 0) {
            perror(name);
            return 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%.3f\n", (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9);
    return 0;
}
