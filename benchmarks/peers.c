/* Many WebSocket peers that cost as little as possible, so that what is measured is the server.
 *
 * usage: peers PORT COUNT [OFFER [PATH]]; sends an upgrade on each connection, then reads until all of them end. A ping is
 * answered where it is the last that came, which on a quiet connection it is. Each peer appends its number to PATH.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char request[] =
    " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

int main(int argc, char **argv) {
    static char buffer[1 << 18];
    static struct epoll_event ready[512];
    static char upgrade[1024];
    if (argc < 3 || argc > 5) return 2;
    const char *offer = argc > 3 ? argv[3] : "";
    const char *path = argc > 4 ? argv[4] : "/?number=";
    const char *header = *offer ? "Sec-WebSocket-Extensions: " : "";
    int open_now = atoi(argv[2]);
    int poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int number = 0; number < open_now; number++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
            perror("connect");
            return 1;
        }
        int length = snprintf(upgrade, sizeof upgrade, "GET %s%d%s%s%s%s\r\n", path, number, request, header, offer,
                              *offer ? "\r\n" : "");
        if (length < 0 || (size_t)length >= sizeof upgrade) return 2;
        if (write(fd, upgrade, (size_t)length) < 0) return 1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
    while (open_now > 0) {
        int count = epoll_wait(poll, ready, 512, -1);
        for (int number = 0; number < count; number++) {
            int fd = ready[number].data.fd;
            ssize_t size = read(fd, buffer, sizeof buffer);
            if (size <= 0) {
                close(fd);
                open_now--;
            } else if (size >= 2 && buffer[size - 2] == '\x89' && buffer[size - 1] == 0) {
                if (write(fd, "\x8a\x80\0\0\0", 6) < 0) return 1;
            }
        }
    }
    return 0;
}
