import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

/** Java's HTTP client as it comes: it offers h2c with its requests. One line for each answer. */
public class Upgrades {
    static final Duration WITHIN = Duration.ofSeconds(20);
    static final String ORDER =
        "{\"tokenIn\":\"SOL\",\"tokenOut\":\"USDC\",\"amountIn\":\"100\",\"slippageTolerance\":0.5}";

    public static void main(String[] arguments) throws Exception {
        String api = arguments[0], streams = arguments[1];
        send(HttpClient.newHttpClient(), api, "GET", "/health", BodyPublishers.noBody());
        send(HttpClient.newHttpClient(), api, "POST", "/api/orders/execute", sized());
        send(HttpClient.newHttpClient(), api, "POST", "/api/orders/execute", chunked());
        send(HttpClient.newHttpClient(), api, "DELETE", "/api/keys/0", BodyPublishers.noBody());
        send(HttpClient.newHttpClient(), streams, "GET", "/api/stream", BodyPublishers.noBody());

        HttpClient kept = HttpClient.newHttpClient();
        for (BodyPublisher body : new BodyPublisher[] {sized(), chunked(), sized()}) {
            send(kept, api, "POST", "/api/orders/execute", body);
        }
        String order = "/api/orders/019c0000-0000-7000-8000-00000000dead/stream";
        System.out.println("WebSocket " + closeCode(streams.replace("http:", "ws:") + order));
    }

    static BodyPublisher sized() {
        return BodyPublishers.ofString(ORDER);
    }

    static BodyPublisher chunked() {
        return BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(ORDER.getBytes()));
    }

    static void send(HttpClient client, String base, String method, String path, BodyPublisher body)
            throws Exception {
        var request = HttpRequest.newBuilder(URI.create(base + path)).timeout(WITHIN)
            .header("Content-Type", "application/json").method(method, body).build();
        var answer = client.send(request, BodyHandlers.ofString());
        System.out.println(method + " " + path + " " + answer.statusCode());
    }

    static int closeCode(String url) throws Exception {
        var code = new CompletableFuture<Integer>();
        HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), new WebSocket.Listener() {
            @Override
            public CompletionStage<?> onClose(WebSocket socket, int status, String reason) {
                code.complete(status);
                return null;
            }

            @Override
            public void onError(WebSocket socket, Throwable error) {
                code.completeExceptionally(error);
            }
        }).get(WITHIN.toSeconds(), TimeUnit.SECONDS);
        return code.get(WITHIN.toSeconds(), TimeUnit.SECONDS);
    }
}
