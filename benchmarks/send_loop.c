/* The limit: one buffer, sent to many sockets in a loop, with nothing around it.
 *
 * usage: send_loop COUNT SIZE ROUNDS PAUSE_US; prints its port, takes COUNT connections and the upgrade that each
 * sends, sends SIZE bytes to each of them ROUNDS times, and prints the nanoseconds of CPU that one send took.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv) {
    static char upgrade[4096];
    if (argc != 5) return 2;
    int count = atoi(argv[1]), size = atoi(argv[2]), rounds = atoi(argv[3]), pause_us = atoi(argv[4]), on = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0) return 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int *peers = malloc((size_t)count * sizeof *peers);
    char *buffer = malloc((size_t)size);
    memset(buffer, 'x', (size_t)size);
    for (int number = 0; number < count; number++) {
        peers[number] = accept(listener, NULL, NULL);
        setsockopt(peers[number], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (read(peers[number], upgrade, sizeof upgrade) <= 0) return 1;
    }
    double spent = 0;
    for (int round = 0; round < rounds; round++) {
        double began = cpu_ns();
        for (int number = 0; number < count; number++) {
            if (send(peers[number], buffer, (size_t)size, MSG_NOSIGNAL) != size) {
                fprintf(stderr, "a peer did not keep up\n");
                return 1;
            }
        }
        spent += cpu_ns() - began;
        usleep((useconds_t)pause_us);
    }
    printf("%.0f\n", spent / rounds / count);
    return 0;
}
